"""One scan: the entry, the stock and the charge together; what is refused and what is only asked about."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.models import Charge, Fee
from ris.audit.models import AuditEvent
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed, RisError
from ris.core.formats import day, today
from ris.events.models import Event
from ris.events.outbox import relay_all
from ris.exams.actions import NewAdministration, administer, undo_start, withdraw_administration
from ris.exams.models import Administration, Exam
from ris.exams.supplying import panel, recipients, usual
from ris.protocolling.actions import approve_protocol
from ris.supplies import actions as supplies
from ris.supplies.models import StockMovement
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
LABEL = f"01{makers.GTIN}17{today() + timedelta(days=400):%y%m%d}104471"


def _exam(**fields: Any) -> Exam:
    kind = makers.make_procedure_type("CTNECKC", name="CT neck with contrast", contrast=True)
    return makers.make_exam(makers.make_order(procedure_type=kind, **fields))


def _dose(**fields: Any) -> NewAdministration:
    return NewAdministration(**{"scan": LABEL, "volume_ml": Decimal(70), "site": "L antecubital", "needle": "18 G",
                                **fields})  # fmt: skip


def test_one_scan_writes_entry_stock_and_charge() -> None:
    """T07, T11."""
    item = makers.make_item(charge_code="Q9967", charged_by="ml")
    Fee.objects.create(code="Q9967", amount=Decimal("0.45"))
    supplies.receive_stock(item, "4471", today() + timedelta(days=400), Decimal(10), by=person("theo"))
    exam = _exam()
    given = administer(exam, _dose(rate_ml_s=Decimal(3)), by=person("theo"))
    assert (given.lot.number, given.expires_on, given.amount) == (
        "4471",
        today() + timedelta(days=400),
        "70 mL",
    )
    assert given.way == "L antecubital 18 G, 3 mL/s"
    assert supplies.in_stock(given.lot, None) == 9
    relay_all()
    charge = Charge.objects.get()
    assert (charge.component, charge.code, charge.amount, charge.administration) == (
        "supply", "Q9967", Decimal("31.50"), given,
    )  # fmt: skip
    ben = Client()
    ben.force_login(person("ben"))
    assert (
        "Iohexol 350 mg I/mL, 100 mL vial, 70 mL" in ben.get(f"/billing/charges/{charge.pk}").content.decode()
    )
    withdraw_administration(given, reason="Wrong vial", by=person("theo"))
    relay_all()
    charge.refresh_from_db()
    assert (charge.status, supplies.in_stock(given.lot, None)) == ("voided", 10)
    with pytest.raises(IllegalTransition):
        withdraw_administration(given, reason="Again", by=person("theo"))


def test_all_of_it_or_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    makers.make_item()
    exam, events = _exam(), Event.objects.count()

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("ris.exams.actions.administering.record", fails)
    with pytest.raises(RuntimeError):
        administer(exam, _dose(), by=person("theo"))
    assert not Administration.objects.exists()
    assert not StockMovement.objects.exists()
    assert Event.objects.count() == events


def test_what_an_exam_uses_is_never_refused_by_the_stock(as_application: None) -> None:
    """A vial nobody received was in the hand all the same: the stock asks to be counted."""
    makers.make_item()
    given = administer(_exam(), _dose(), by=person("theo"))
    assert supplies.in_stock(given.lot, None) == -1


def test_it_is_drawn_from_the_room_that_has_it() -> None:
    item = makers.make_item(volume_ml=500, shared=True, container="bottle")
    exam = _exam()
    exam.room = makers.make_room()
    exam.save(update_fields=["room"])
    lot = supplies.receive_stock(
        item, "4471", today() + timedelta(days=400), Decimal(2), by=person("theo"), room=exam.room
    ).lot
    administer(exam, _dose(), by=person("theo"))
    assert supplies.in_stock(lot, exam.room) == Decimal("1.86")


def test_what_cannot_be_given_is_refused_in_words() -> None:
    makers.make_item()
    exam, theo = _exam(), person("theo")
    old = f"01{makers.GTIN}1720010110OLD"
    bare = f"01{makers.GTIN}"
    cases: list[tuple[NewAdministration, type[RisError], str]] = [
        (_dose(scan="09501101530004"), BadValue, "wrong digit"),
        (_dose(scan="9501101530010"), RisError, "No item has the number"),
        (_dose(scan="UNKNOWN"), RisError, "Nothing here has the number or lot"),
        (_dose(scan=bare), MissingData, "does not say the lot"),
        (_dose(scan=bare, number="X1"), MissingData, "until which it may be used"),
        (_dose(volume_ml=None), MissingData, "how many mL"),
        (_dose(volume_ml=Decimal(0)), BadValue, "above 0"),
        (_dose(volume_ml=Decimal(140)), BadValue, "holds 100 mL"),
        (_dose(route="nose"), BadValue, "way it was given"),
        (_dose(wasted=True), MissingData, "why it was spoilt"),
        (_dose(scan=old), NotAllowed, "expired on 01-Jan-2020. Do not give it"),
    ]
    for dose, refusal, words in cases:
        with pytest.raises(refusal, match=words):
            administer(exam, dose, by=theo)
    with pytest.raises(NotAllowed):
        administer(exam, _dose(), by=person("clara"))
    with pytest.raises(MissingData, match="say why"):
        administer(exam, _dose(scan=old), by=person("rita"))
    forced = administer(exam, _dose(scan=old, reason="Only vial, cardiac arrest"), by=person("rita"))
    assert forced.reason == "Only vial, cardiac arrest"
    undo_start(exam, by=theo)
    with pytest.raises(IllegalTransition):
        administer(exam, _dose(), by=theo)


def test_a_container_is_used_once_unless_it_serves_several() -> None:
    item = makers.make_item()
    exam, label = _exam(), f"{LABEL}\x1d21S1"
    first = administer(exam, _dose(scan=label), by=person("theo"))
    with pytest.raises(Conflict, match="was entered before, by"):
        administer(exam, _dose(scan=label), by=person("theo"))
    withdraw_administration(first, reason="Not given", by=person("theo"))
    administer(exam, _dose(scan=label), by=person("theo"))
    item.shared = True
    item.save(update_fields=["shared"])
    administer(exam, _dose(scan=label), by=person("theo"))


def test_another_agent_than_the_protocol_s_is_asked_about_once() -> None:
    makers.make_item()
    for agent, volume, words in (
        ("Iohexol 350 mg/mL", 70, ""),
        ("Iohexol 300 mg/mL", 70, "asks for Iohexol 300 mg/mL, this is Iohexol 350 mg I/mL"),
        ("Iomeprol 350 mg/mL", 70, "asks for Iomeprol"),
        ("Iohexol 350 mg/mL", 50, "asks for 50 mL"),
        ("", None, "asks for no contrast"),
    ):
        kind = makers.make_procedure_type("CTNECKC", name="CT neck with contrast", contrast=True)
        protocol = makers.make_protocol(
            f"Neck {agent} {volume}", kind, code=f"N{agent[:5]}{agent[8:11]}{volume}", contrast_agent=agent,
            contrast_ml=volume,
        )  # fmt: skip
        order = makers.make_order(procedure_type=kind)
        approve_protocol(makers.make_protocol_request(order), protocol, by=person("rita"))
        exam = makers.make_exam(order)
        if not words:
            assert administer(exam, _dose(), by=person("theo")).warning == ""
            continue
        with pytest.raises(Conflict, match=words):
            administer(exam, _dose(), by=person("theo"))
        assert words in administer(exam, _dose(acknowledged=True), by=person("theo")).warning


def test_what_is_spoilt_leaves_the_stock_and_charges_nothing() -> None:
    makers.make_item(charge_code="Q9967")
    given = administer(_exam(), _dose(wasted=True, reason="Dropped"), by=person("theo"))
    relay_all()
    assert (given.status, given.volume_ml, given.movement.kind) == ("wasted", None, "wasted")
    assert not Charge.objects.exists()
    assert list(recipients(given.lot)) == []


def test_the_dose_of_the_protocol_is_filled_in() -> None:
    item = makers.make_item(volume_ml=50)
    kind = makers.make_procedure_type("CTNECKC", name="CT neck with contrast", contrast=True)
    protocol = makers.make_protocol(
        "Neck", kind, contrast_agent="Iohexol 350 mg/mL", contrast_ml=70, rate_ml_s=Decimal("2.5")
    )
    order = makers.make_order(procedure_type=kind)
    approve_protocol(makers.make_protocol_request(order), protocol, by=person("rita"))
    exam = makers.make_exam(order)
    found = supplies.find(LABEL)
    assert usual(panel(exam, person("theo"), found=found)) == {
        "quantity": 1,
        "volume_ml": "50",
        "rate_ml_s": "2.5",
    }
    administer(exam, _dose(volume_ml=Decimal(50)), by=person("theo"))
    assert usual(panel(exam, person("theo"), found=found)) == {
        "quantity": 1, "volume_ml": "20", "rate_ml_s": "2.5", "site": "L antecubital", "needle": "18 G",
    }  # fmt: skip
    assert item.label == "Iohexol 350 mg I/mL"


def test_the_recall_list_names_everybody_who_received_a_lot(django_assert_max_num_queries: Any) -> None:
    """Idea 16."""
    makers.make_item()
    exams = [_exam() for _ in range(3)]
    entries = [administer(exam, _dose(), by=person("theo")) for exam in exams]
    withdraw_administration(entries[0], reason="Not given", by=person("theo"))
    lot = entries[0].lot
    client = Client()
    client.force_login(person("mona"))
    assert client.post("/supplies/recall", {"q": "4471"}).headers["Location"] == f"/supplies/lots/{lot.pk}"
    with django_assert_max_num_queries(24):
        text = client.get(f"/supplies/lots/{lot.pk}").content.decode()
    assert "2 times given" in text
    table = client.get(f"/supplies/lots/{lot.pk}/recall.csv").content.decode("utf-8-sig").splitlines()
    assert len(table) == 3
    assert "70 mL" in table[1]
    seen = AuditEvent.objects.get(action="lot.recall.export")
    assert seen.details["patients"] == sorted(exam.order.patient_id for exam in exams[1:])
    assert day(today()) in text


def test_the_panel_scans_saves_and_takes_back() -> None:
    makers.make_item()
    exam = _exam()
    client = Client(headers={"HX-Request": "true"})
    client.force_login(person("theo"))
    base = f"/exams/{exam.pk}/contrast"
    refused = client.post(f"{base}/scan", {"scan": "09501101530004"})
    assert (refused.status_code, "wrong digit" in refused.content.decode()) == (422, True)
    found = client.post(f"{base}/scan", {"scan": LABEL}).content.decode()
    assert all(words in found for words in ("Iohexol 350 mg I/mL", "4471", 'value="100"', "L antecubital"))
    sent = {"scan": LABEL, "volume_ml": "70", "site": "L antecubital", "number": "4471"}
    saved = client.post(f"{base}/give", sent)
    assert "Iohexol 350 mg I/mL, 70 mL" in saved.content.decode()
    given = Administration.objects.get()
    assert f"{base}/{given.pk}/withdraw" in saved.headers["HX-Trigger"]
    client.post(f"{base}/{given.pk}/withdraw")
    given.refresh_from_db()
    assert (given.status, given.reason) == ("withdrawn", "Taken back at once")
