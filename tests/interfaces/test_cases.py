"""Cases: what matches nothing here stays in sight until it has its place."""

import pytest
from django.test import Client
from pytest_django.asserts import assertNumQueries

from interfaces import cases
from interfaces.actions import save_endpoint, set_code_maps
from interfaces.hl7 import mllp, receiver
from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from ris.audit.models import AuditEvent
from ris.orders.models import Order
from tests import makers
from tests.cast import person
from tests.interfaces.hl7 import samples

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture(autouse=True)
def emr() -> None:
    makers.make_facility()
    makers.make_procedure_type()
    save_endpoint("EMR", {"direction": "in"}, by=person("ada"))


def _send(text: str) -> InboundMessage:
    list(receiver.receive(mllp.Frame(text.encode()), "10.2.0.8"))
    return InboundMessage.objects.latest("pk")


BAD_DATE = samples.pid(born="19683199")


def test_messages_refused_for_one_cause_are_one_case_until_the_last_is_applied() -> None:
    first = _send(samples.adt(person=BAD_DATE))
    second = _send(samples.adt(person=BAD_DATE))
    case = Case.objects.get()
    assert (case.kind, case.status, case.count, case.inbound) == ("refused", "open", 2, first)
    assert "PID-7" in case.sentence
    assert "OKAFOR" not in case.sentence
    for number, refused in enumerate((first, second)):
        fixed = samples.adt(control_id=refused.control_id)
        assert _send(fixed).status == "processed"
        assert cases.settle() == number
    case.refresh_from_db()
    assert case.status == "solved"


def test_a_cancellation_of_an_unknown_order_is_matched_by_hand_and_takes_effect(ada: Client) -> None:
    patient = makers.make_patient("Okafor", "Adaeze", mrn="004417268")
    order = makers.make_order(patient)
    refused = _send(samples.orm("CA", "NOBODY^EMR", person=samples.pid()))
    assert refused.status == "rejected", refused.error_text
    case = Case.objects.get()
    assert (case.kind, case.sentence) == ("unknown_order", "EMR cancels an order that is not known here.")
    page = ada.get(f"/interfaces/cases/{case.pk}").content.decode()
    assert "Say which order it means" in page
    found = ada.post(f"/interfaces/cases/{case.pk}/find", {"q": order.accession_number}).content.decode()
    assert f'data-value="{order.pk}"' in found
    assert ada.post(f"/interfaces/cases/{case.pk}/match", {"record": order.pk}).status_code == 303
    assert "Applied: Order cancelled" in ada.get(f"/interfaces/cases/{case.pk}").content.decode()
    case.refresh_from_db()
    assert (case.status, case.closed_by) == ("solved", person("ada"))
    assert Order.objects.get(pk=order.pk).status == "cancelled"
    copy = InboundMessage.objects.latest("pk")
    assert copy.peer == f"copy of {refused.pk} by ada"
    assert AuditEvent.objects.filter(action="message.edited", subject=f"message:{refused.pk}").count() == 1


def test_a_cancelled_appointment_that_nobody_knows_is_found_by_its_order(ada: Client) -> None:
    appointment = makers.make_appointment()
    siu = [samples.msh("SIU^S15", version="2.4"), "SCH|77^ENT||||||||||^^^20260302090000", ""]
    assert _send("\r".join(siu)).error_location == "SCH-1"
    case = Case.objects.get()
    assert case.kind == "unknown_appointment"
    ada.post(f"/interfaces/cases/{case.pk}/match", {"record": appointment.order_id})
    case.refresh_from_db()
    appointment.refresh_from_db()
    assert (case.status, appointment.status) == ("solved", "cancelled")


def test_the_same_cancellation_under_another_number_solves_the_case() -> None:
    _send(samples.orm("CA", "A77^EMR"))
    assert _send(samples.orm("NW", "A77^EMR")).status == "processed"
    case = Case.objects.get(kind="unknown_order")
    assert case.status == "open", "the order has come, but nobody has cancelled it yet"
    assert _send(samples.orm("CA", "A77^EMR")).status == "processed"
    case.refresh_from_db()
    assert (case.status, case.note) == ("solved", "The message was applied.")


def test_a_case_is_taken_noted_dismissed_with_a_reason_and_opened_again(ada: Client) -> None:
    _send(samples.adt(person=BAD_DATE))
    case = Case.objects.get()
    ada.post(f"/interfaces/cases/{case.pk}/take")
    ada.post(f"/interfaces/cases/{case.pk}/note", {"note": "EMR team is told"})
    case.refresh_from_db()
    assert (case.owner, case.note) == (person("ada"), "EMR team is told")
    assert ada.post(f"/interfaces/cases/{case.pk}/dismiss", {"reason": ""}).status_code == 422
    assert ada.post(f"/interfaces/cases/{case.pk}/dismiss", {"reason": "Test message"}).status_code == 303
    case.refresh_from_db()
    assert case.status == "dismissed"
    assert b"Test message" in ada.get("/interfaces/cases?closed=1").content
    ada.post(f"/interfaces/cases/{case.pk}/reopen")
    case.refresh_from_db()
    assert case.status == "open"


def test_all_messages_of_a_cause_are_read_again_at_once_when_the_code_is_mapped(ada: Client) -> None:
    for _ in range(2):
        assert _send(samples.adt(person=samples.pid(sex="W"))).status == "rejected"
    case = Case.objects.get()
    assert "Read all 2 again" in ada.get(f"/interfaces/cases/{case.pk}").content.decode()
    set_code_maps(Endpoint.objects.get(), [("sex", "W", "F")], by=person("ada"))
    ada.post(f"/interfaces/cases/{case.pk}/read-again")
    case.refresh_from_db()
    assert (case.status, case.note) == ("solved", "Every message of this cause was applied.")
    assert "2 of 2 messages were applied" in ada.get(f"/interfaces/cases/{case.pk}").content.decode()


def test_lists_of_cases_cost_the_same_for_one_and_for_many(ada: Client) -> None:
    _send(samples.adt(person=BAD_DATE))
    ada.get("/interfaces/cases")
    with assertNumQueries(7):
        ada.get("/interfaces/cases")
    for number in range(5):
        _send(samples.orm("CA", f"X{number}^EMR"))
    with assertNumQueries(7):
        ada.get("/interfaces/cases")


def test_a_dead_letter_has_an_owner_and_a_note_until_it_is_accepted(ada: Client) -> None:
    out = save_endpoint("HIS", {"direction": "out", "address": "127.0.0.1:9"}, by=person("ada"))
    message = OutboundMessage.objects.create(
        endpoint=out, purpose="x", type="ORM^O01", key="A1", control_id="X1", status="rejected", error_text="No",
        raw=b"MSH|^~\\&|L|H|E|H|20261119||ORM^O01|X1|P|2.3.1\r",
    )  # fmt: skip
    assert ada.post(f"/interfaces/dead-letters/{message.pk}/take").status_code == 303
    case = Case.objects.get(outbound=message)
    assert case.owner == person("ada")
    assert "Ada" in ada.get("/interfaces/dead-letters").content.decode()
    OutboundMessage.objects.filter(pk=message.pk).update(status="queued")
    OutboundMessage.objects.filter(pk=message.pk).update(status="sent")
    OutboundMessage.objects.filter(pk=message.pk).update(status="accepted")
    assert cases.settle() == 1
    assert b"No dead letters" in ada.get("/interfaces/dead-letters").content


def test_a_cases_list_for_scripts_names_no_patient(ada: Client) -> None:
    _send(samples.adt(person=BAD_DATE))
    body = ada.get("/api/v1/cases/").json()["results"]
    assert [one["kind"] for one in body] == ["refused"]
    assert "patient" not in body[0]
