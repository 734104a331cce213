"""The check of the patient before the scan, and the start."""

import pytest
from django.test import Client

from ris.audit.models import AuditEvent
from ris.events.models import Event
from ris.exams.models import Exam
from ris.orders.models import Order
from ris.patients.models import PatientIdentifier
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


@pytest.fixture
def order() -> Order:
    return makers.make_appointment(patient=makers.make_patient(mrn="004417268")).order


def _start(client: Client, order: Order, **fields: str) -> int:
    room = str(makers.make_room().pk)
    return client.post(f"/orders/{order.pk}/start", {"room": room, **fields}).status_code


@pytest.mark.parametrize("typed", ["004417268", "004 417 268", " 004417268\n"])
def test_the_patients_own_wristband_lets_the_exam_start(theo: Client, order: Order, typed: str) -> None:
    response = theo.post(f"/orders/{order.pk}/identify", {"scan": typed})
    assert response.status_code == 303
    assert "The wristband is this patient" in theo.get(f"/orders/{order.pk}/start").content.decode()
    assert _start(theo, order) == 303
    exam = Exam.objects.get(order=order)
    assert (exam.status, exam.technologist, exam.room.code) == ("in_progress", person("theo"), "CT1")  # type: ignore[union-attr]
    assert AuditEvent.objects.get(action="exam.identity_checked").details == {"how": "wristband"}


def test_the_accession_number_of_the_order_will_do(theo: Client, order: Order) -> None:
    number = order.accession_number
    assert (
        theo.post(f"/orders/{order.pk}/identify", {"scan": f"{number[:3]}-{number[3:]}"}).status_code == 303
    )
    assert _start(theo, order) == 303


def test_a_number_of_another_authority_names_the_patient_too(theo: Client, order: Order) -> None:
    PatientIdentifier.objects.create(patient=order.patient, value="X-77", authority="CITY", type="PI")
    assert theo.post(f"/orders/{order.pk}/identify", {"scan": "X-77"}).status_code == 303


def test_another_patients_wristband_is_refused_and_both_are_named(theo: Client, order: Order) -> None:
    makers.make_patient("Todd", "Liam", mrn="004417286")
    before = Event.objects.count()
    response = theo.post(f"/orders/{order.pk}/identify", {"scan": "004417286"})
    assert response.status_code == 409
    page = response.content.decode()
    assert "Wristband says TODD, Liam, MRN 004 417 286." in page
    assert "This exam is for OKAFOR, Adaeze, MRN 004 417 268. Do not scan." in page
    assert _start(theo, order) == 422
    assert not Exam.objects.exists()
    assert Event.objects.count() == before
    refused = AuditEvent.objects.get(action="exam.identity_refused")
    assert (refused.outcome, refused.patient) == ("refused", order.patient_id)


def test_a_wrong_wristband_takes_back_the_right_one(theo: Client, order: Order) -> None:
    theo.post(f"/orders/{order.pk}/identify", {"scan": "004417268"})
    theo.post(f"/orders/{order.pk}/identify", {"scan": "nobody"})
    assert _start(theo, order) == 422


def test_a_scan_stands_for_its_own_order_only(theo: Client, order: Order) -> None:
    other = makers.make_order(patient=makers.make_patient("Todd"))
    theo.post(f"/orders/{order.pk}/identify", {"scan": "004417268"})
    assert _start(theo, other) == 422


def test_without_a_scan_the_birth_year_is_typed(theo: Client, order: Order) -> None:
    assert _start(theo, order) == 422
    assert _start(theo, order, birth_year="1986") == 422
    assert not Exam.objects.exists()
    assert _start(theo, order, birth_year="1968") == 303
    assert AuditEvent.objects.get(action="exam.identity_checked").details == {"how": "birth year"}


def test_an_unknown_birth_date_leaves_only_the_scan(theo: Client) -> None:
    order = makers.make_order(patient=makers.make_patient(birth_date="", mrn="000000001"))
    assert _start(theo, order, birth_year="") == 422
    theo.post(f"/orders/{order.pk}/identify", {"scan": "000000001"})
    assert _start(theo, order) == 303


def test_a_start_sent_twice_starts_once(theo: Client, order: Order) -> None:
    sent = {"birth_year": "1968", "form_key": "0dd0b1de-0b51-4f5c-9d7a-7a2f0f0f9b57"}
    assert _start(theo, order, **sent) == 303
    assert _start(theo, order, **sent) == 303
    assert Exam.objects.filter(order=order).count() == 1
    assert _start(theo, order, birth_year="1968") == 409
    assert Exam.objects.filter(order=order).count() == 1


def test_a_scan_on_the_rooms_list_goes_straight_to_the_patients_exam(theo: Client) -> None:
    order = makers.make_order(patient=makers.make_patient(mrn="004417268"), priority="stat")
    makers.make_room()
    response = theo.post("/rooms/CT1/scan", {"scan": "004417268"})
    assert response.headers["Location"] == f"/orders/{order.pk}/start?room=CT1"
    assert _start(theo, order) == 303


def test_a_scan_of_somebody_who_is_not_expected_here_says_where_they_are(theo: Client) -> None:
    makers.make_room()
    start = makers.next_hour(0).replace(hour=23)
    mr = makers.make_room("MR1", "MR")
    kind = makers.make_procedure_type("MRHEAD", name="MR head", modality="MR")
    order = makers.make_order(
        patient=makers.make_patient("Todd", "Liam", mrn="004417286"), procedure_type=kind
    )
    makers.make_appointment(order, room=mr, start=start)
    response = theo.post("/rooms/CT1/scan", {"scan": "004417286"})
    assert response.status_code == 409
    page = response.content.decode()
    assert (
        "Wristband says TODD, Liam. No exam of this patient waits in CT 1 today. It is planned in MR 1."
        in page
    )
    assert f'href="/orders/{order.pk}/start"' in page
    assert theo.post("/rooms/CT1/scan", {"scan": "nobody"}).status_code == 422


def test_a_started_order_leads_to_its_exam(theo: Client) -> None:
    exam = makers.make_exam()
    assert theo.get(f"/orders/{exam.order_id}/start").headers["Location"] == f"/exams/{exam.pk}"


def test_a_cancelled_order_cannot_be_started(theo: Client, order: Order) -> None:
    from scheduling.actions import cancel_order

    cancel_order(order, reason="Duplicate", by=person("clara"))
    assert "its exam cannot be started" in theo.get(f"/orders/{order.pk}/start").content.decode()
    assert _start(theo, order, birth_year="1968") == 409
