"""Placing an order at the desk, and by the referrer."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from ris.core.formats import today
from ris.orders.models import Order
from ris.orders.worklists import find_exams, find_practitioners
from ris.patients.models import Patient
from scheduling.actions import cancel_order
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def patient() -> Patient:
    return makers.make_patient()


@pytest.fixture
def clara(client: Client, patient: Patient) -> Client:
    client.force_login(person("clara"))
    return client


def _form(**fields: object) -> dict[str, object]:
    exam = makers.make_procedure_type("CTABD", name="CT abdomen", body_part="Abdomen", synonyms=["belly"])
    values = {
        "facility": makers.make_facility().pk, "procedure": exam.pk, "reason": "RUQ pain, fever", "priority": "asap",
        "referrer": makers.make_practitioner().pk, "wanted": "+3d", "transport": "CART", "clinical_info": "Cyst known.",
    }  # fmt: skip
    return {**values, **fields}


def test_an_order_is_placed(clara: Client, patient: Patient) -> None:
    answer = clara.post(f"/orders/new?patient={patient.pk}", _form())
    order = Order.objects.get()
    assert answer.headers["Location"] == f"/orders/{order.pk}"
    assert (order.priority, order.reason, order.transport) == ("asap", "RUQ pain, fever", "CART")
    assert order.wanted_at is not None
    assert order.wanted_at.astimezone(makers.ZoneInfo("America/New_York")).date() == today() + timedelta(
        days=3
    )
    assert order.ordering == makers.make_practitioner()
    assert order.source == ""


def test_save_and_book_goes_to_the_schedule(clara: Client, patient: Patient) -> None:
    answer = clara.post(f"/orders/new?patient={patient.pk}", _form(book="1"))
    assert answer.headers["Location"] == f"/schedule/{today().isoformat()}?order={Order.objects.get().pk}"


def test_a_form_sent_twice_places_one_order(clara: Client, patient: Patient) -> None:
    form = _form(form_key=str(uuid4()))
    answers = [clara.post(f"/orders/new?patient={patient.pk}", form) for _ in range(2)]
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("procedure", "", "Pick the exam."),
        ("procedure", "99999", "Select a valid choice"),
        ("reason", "", "Enter the reason for the exam."),
        ("referrer", "", "Pick the referrer."),
        ("wanted", "someday", "Type a day like 22 11"),
        ("wanted", "1 1 2020", "Wanted by must be today or later."),
    ],
)
def test_what_is_missing_is_said_at_its_field(
    clara: Client, patient: Patient, field: str, value: str, said: str
) -> None:
    answer = clara.post(f"/orders/new?patient={patient.pk}", _form(**{field: value}))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Order.objects.exists()


def test_a_side_is_picked_never_assumed(clara: Client, patient: Patient) -> None:
    wrist = makers.make_procedure_type("XRWRIST", name="XR wrist", modality="DX", laterality="required")
    url = f"/orders/new?patient={patient.pk}"
    answer = clara.post(url, _form(procedure=wrist.pk))
    assert answer.status_code == 422
    assert "Pick the side: left, right or both." in answer.content.decode()
    assert " checked" not in answer.content.decode().split('id="id_side"')[1].split("</fieldset>")[0]
    clara.post(url, _form(procedure=wrist.pk, side="L"))
    assert Order.objects.get().procedures.get().side == "L"


def test_an_exam_without_a_side_ignores_one(clara: Client, patient: Patient) -> None:
    clara.post(f"/orders/new?patient={patient.pk}", _form(side="L"))
    assert Order.objects.get().procedures.get().side == ""


def test_the_same_exam_again_within_90_days_needs_a_reason(clara: Client, patient: Patient) -> None:
    url = f"/orders/new?patient={patient.pk}"
    clara.post(url, _form())
    answer = clara.post(url, _form())
    assert answer.status_code == 422
    assert "CT abdomen was ordered on" in answer.content.decode()
    answer = clara.post(url, _form(again="1"))
    assert "Say why the exam is needed again." in answer.content.decode()
    clara.post(url, _form(again="1", again_reason="Follow-up of the abscess"))
    newest = Order.objects.latest("pk")
    assert Order.objects.count() == 2
    assert newest.clinical_info.startswith("Ordered again: Follow-up of the abscess\nCyst known.")


def test_what_was_withdrawn_or_is_long_ago_does_not_count(clara: Client, patient: Patient) -> None:
    exam = makers.make_procedure_type("CTABD", name="CT abdomen", body_part="Abdomen")
    makers.make_order(patient, procedure_type=exam, ordered_at=timezone.now() - timedelta(days=91))
    withdrawn = makers.make_order(patient, procedure_type=exam)
    cancel_order(withdrawn, reason="Duplicate", by=person("clara"))
    assert clara.post(f"/orders/new?patient={patient.pk}", _form()).status_code == 303


def test_without_a_script_what_was_typed_is_looked_up(clara: Client, patient: Patient) -> None:
    makers.make_procedure_type("CTABDC", name="CT abdomen + contrast", body_part="Abdomen")
    makers.make_practitioner("Mensah")
    url = f"/orders/new?patient={patient.pk}"
    typed = _form(procedure="", referrer="")
    answer = clara.post(url, {**typed, "q": ["ct abd", "mens"]})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "2 fit “ct abd”. Pick one." in page
    assert page.count('type="radio" name="procedure"') == 2
    clara.post(url, {**typed, "q": ["belly", "mens"]})
    order = Order.objects.get()
    assert (order.procedures.get().code, order.ordering and order.ordering.family) == ("CTABD", "Mensah")


def test_picking_an_exam_tells_what_it_takes(clara: Client, patient: Patient) -> None:
    exam = makers.make_procedure_type("MRKNEE", name="MR knee", modality="MR", body_part="Knee", laterality="required",
                                      prep="Metal off", duration_minutes=45)  # fmt: skip
    other = makers.make_procedure_type("MRKNEEC", name="MR knee + contrast", modality="MR", body_part="Knee")
    makers.make_order(patient, procedure_type=other)
    page = clara.post(f"/orders/new/{patient.pk}/exam", {"procedure": exam.pk}).content.decode()
    for words in ("45 min", "Metal off", "Left", "MR knee + contrast", "Order it again"):
        assert words in page
    plain = clara.post(f"/orders/new/{patient.pk}/exam", {"procedure": other.pk}).content.decode()
    assert "Left" not in plain
    assert clara.post(f"/orders/new/{patient.pk}/exam", {"procedure": "x"}).status_code == 200


def test_exams_and_referrers_are_found_by_beginnings_of_words() -> None:
    exam = makers.make_procedure_type(
        "CTAPC", name="CT abdomen + pelvis + contrast", body_part="Abdomen", synonyms=["belly scan"]
    )
    head = makers.make_procedure_type()
    makers.make_procedure_type("OLD", name="CT abdomen old", active=False)
    for typed in ("ct ab p c", "ctapc", "bel", "pelvis ct", "CT abdomne pelvis"):
        assert find_exams(typed)[0] == exam, typed
    assert find_exams("ct head") == [head]
    assert [find_exams(nothing) for nothing in ("", "%", "zzz")] == [[], [], []]
    lindgren = makers.make_practitioner()
    nunez = makers.make_practitioner("Núñez")
    assert find_practitioners("dr lind maj") == [lindgren]
    assert find_practitioners("nunez") == [nunez]
    assert find_practitioners("LINDGREN") == [lindgren]
    assert find_practitioners("nobody") == []


def test_an_order_form_without_a_patient_asks_for_one(clara: Client) -> None:
    answer = clara.get("/orders/new", follow=True)
    assert answer.request["PATH_INFO"] == "/search"
    assert "Pick the patient first, then New order." in answer.content.decode()


def test_a_referrer_orders_for_their_own_patients_and_as_nobody_else(
    client: Client, patient: Patient
) -> None:
    rafe = person("rafe")
    own = makers.make_practitioner("Rafael", user=rafe)
    stranger = makers.make_patient("Duarte", "Silvia")
    exam = makers.make_procedure_type("XRCHEST", name="XR chest", modality="DX", body_part="Chest")
    makers.make_order(patient, ordering=own, procedure_type=exam)
    client.force_login(rafe)
    assert client.get(f"/orders/new?patient={stranger.pk}").status_code == 404
    assert client.post(f"/orders/new/{stranger.pk}/exam", {}).status_code == 404
    page = client.get(f"/orders/new?patient={patient.pk}").content.decode()
    assert "Save + book" not in page
    answer = client.post(
        f"/orders/new?patient={patient.pk}", _form(referrer=makers.make_practitioner().pk, book="1")
    )
    placed = Order.objects.latest("pk")
    assert (placed.ordering, answer.headers["Location"]) == (own, f"/orders/{placed.pk}")


@pytest.mark.parametrize(("who", "status"), [("clara", 200), ("theo", 200), ("rita", 200), ("mona", 200), ("ben", 403),
                                             ("rene", 403), ("ada", 403)])  # fmt: skip
def test_only_those_with_the_right_order(client: Client, patient: Patient, who: str, status: int) -> None:
    client.force_login(person(who))
    assert client.get(f"/orders/new?patient={patient.pk}").status_code == status
