"""The test bench: every effect of a message is shown and none takes place; a change is tried before it is saved."""

import pytest

from interfaces import rehearsal
from interfaces.actions import save_endpoint, set_code_maps
from interfaces.hl7 import mllp, receiver
from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from interfaces.rehearsal import Change
from ris.audit.models import AuditEvent
from ris.core.errors import BadValue, NotAllowed
from ris.events.models import Delivery, Event
from ris.events.outbox import relay_all
from ris.orders.models import Order
from ris.patients.models import Patient
from scheduling.actions import book
from tests.cast import person
from tests.interfaces.hl7.samples import adt, orm, pid
from tests.makers import make_facility, make_procedure_type, make_room, next_hour

pytestmark = pytest.mark.django_db

TABLES = (Patient, Order, Event, Delivery, InboundMessage, OutboundMessage, Case)


def counted() -> list[int]:
    return [table.objects.count() for table in TABLES]


@pytest.fixture
def his() -> Endpoint:
    make_facility()
    make_procedure_type()
    return save_endpoint("HIS", {"direction": "in"}, by=person("ada"))


def received(message: str) -> InboundMessage:
    list(receiver.receive(mllp.Frame(message.encode()), "127.0.0.1"))
    return InboundMessage.objects.latest("pk")


def test_a_new_order_is_shown_with_all_it_would_do_and_nothing_is_kept(his: Endpoint) -> None:
    save_endpoint("PACS", {"address": "127.0.0.1:1", "facts": ["orders"]}, by=person("ada"))
    before = counted()
    found = rehearsal.rehearse(orm("NW").encode(), his, by=person("ada"))
    assert found.ack_code == "AA"
    assert b"MSA|AA" in found.ack
    assert {"patient.registered", "order.placed"} <= {one.kind for one in found.effects}
    assert found.trouble == ()
    assert counted() == before
    assert AuditEvent.objects.filter(action="message.rehearsed", username="ada").exists()
    assert not AuditEvent.objects.filter(action="order.placed").exists()


def test_a_cancel_shows_the_messages_that_partners_would_be_sent(his: Endpoint) -> None:
    save_endpoint("PACS", {"address": "127.0.0.1:1", "facts": ["orders"]}, by=person("ada"))
    received(orm("NW"))
    book(Order.objects.get(), room=make_room(), start=next_hour(), by=person("clara"))
    relay_all()
    found = rehearsal.rehearse(orm("CA").encode(), his, by=person("ada"))
    assert found.ack_code == "AA"
    assert "order.cancelled" in {one.kind for one in found.effects}
    assert {(one.partner, one.type) for one in found.told} == {("PACS", "ORM^O01")}
    assert any(b"|CA|" in one.raw for one in found.told)
    assert Order.objects.get().status == "scheduled"


def test_a_changed_detail_is_shown_as_it_is_and_as_it_would_be(his: Endpoint) -> None:
    received(adt("A04", person=pid(rest="||||(617)555-0100")))
    found = rehearsal.rehearse(adt("A08", person=pid(born="19680715")).encode(), his, by=person("ada"))
    (update,) = [one for one in found.effects if one.kind == "patient.updated"]
    assert ("birth_date", "1968-07-14", "1968-07-15") in update.changes


def test_a_refusal_is_shown_with_its_place_and_its_sentence(his: Endpoint) -> None:
    found = rehearsal.rehearse(adt("A04", person=pid(born="19689999")).encode(), his, by=person("ada"))
    assert (found.ack_code, found.error_code, found.error_location) == ("AE", "102", "PID-7")
    assert found.effects == ()
    nonsense = rehearsal.rehearse(b"not HL7 at all", his, by=person("ada"))
    assert nonsense.ack_code == "AR"


def test_only_who_may_see_what_messages_say_may_rehearse(his: Endpoint) -> None:
    with pytest.raises(NotAllowed):
        rehearsal.rehearse(adt("A04").encode(), his, by=person("clara"))


def test_a_change_of_an_inbound_partner_is_tried_on_what_it_sent(his: Endpoint) -> None:
    received(orm("NW"))
    received(adt("A08"))
    before = counted()
    same = rehearsal.replay(his, Change({}), by=person("ada"))
    assert (same.tried, same.differences) == (2, ())
    found = rehearsal.replay(his, Change({"paused": True}), by=person("ada"))
    assert len(found.differences) == 2
    for one in found.differences:
        assert one.new[0].startswith("AR: 207"), one
        assert any(text.startswith("AA") for text in one.gone), one
    assert counted() == before
    his.refresh_from_db()
    assert his.profile == {}


def test_a_change_of_what_we_send_is_tried_on_what_was_told() -> None:
    his = save_endpoint("HIS", {"direction": "in"}, by=person("ada"))
    make_facility()
    make_procedure_type()
    pacs = save_endpoint("PACS", {"address": "127.0.0.1:1", "facts": ["orders"]}, by=person("ada"))
    received(orm("NW"))
    book(Order.objects.get(), room=make_room(), start=next_hour(), by=person("clara"))
    relay_all()
    told = pacs.outbound.count()
    assert told >= 2
    before = counted()
    same = rehearsal.replay(pacs, Change({}), by=person("ada"))
    assert same.differences == ()
    found = rehearsal.replay(pacs, Change({"profile": {"statuses": "no"}}), by=person("ada"))
    assert found.tried == told
    assert 0 < len(found.differences) < told, "statuses go, procedures stay"
    assert all(not one.new and one.gone for one in found.differences)
    assert counted() == before
    assert his.pk != pacs.pk


def test_a_change_that_cannot_be_saved_is_refused_before_it_is_tried(his: Endpoint) -> None:
    with pytest.raises(BadValue):
        rehearsal.replay(his, Change({"profile": {"processing": "X"}}), by=person("ada"))
    with pytest.raises(BadValue):
        rehearsal.replay(his, Change({}, [("exam", "CTX", "")]), by=person("ada"))


def test_code_maps_are_set_as_a_whole(his: Endpoint) -> None:
    set_code_maps(his, [("modality", "NMR", "MR"), ("sex", "W", "F")], by=person("ada"))
    set_code_maps(his, [("modality", "NMR", "MR"), ("sex", "W", "U")], by=person("ada"))
    assert rehearsal.maps_of(his) == [("modality", "NMR", "MR"), ("sex", "W", "U")]
    with pytest.raises(BadValue):
        set_code_maps(his, [("sex", "W", "F"), ("sex", "W", "M")], by=person("ada"))


def test_as_new_gives_new_orders_numbers_of_their_own_and_leaves_the_rest() -> None:
    raw = orm("NW", "A1^EMR").encode()
    new = rehearsal.as_new(raw)
    orc, obr = (
        next(line.split(b"|") for line in new.split(b"\r") if line[:3] == name) for name in (b"ORC", b"OBR")
    )
    assert orc[2] == obr[2] != b"A1^EMR"
    assert orc[2].endswith(b"^EMR")
    cancel = orm("CA", "A1^EMR").encode()
    assert rehearsal.as_new(cancel) == cancel
    assert rehearsal.as_new(b"junk") == b"junk"
