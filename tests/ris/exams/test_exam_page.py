"""The exam's page: completing, stopping, taking back, notes, and what the machine said."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ris.core.formats import local
from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step
from ris.exams.models import Exam
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


SERIES = {
    "00400340": {
        "vr": "SQ",
        "Value": [
            {"00081140": {"vr": "SQ", "Value": [{}, {}, {}]}},
            {"00081140": {"vr": "SQ", "Value": [{}]}, "00400220": {"vr": "SQ", "Value": [{}]}},
        ],
    }
}


def test_completing_keeps_series_images_and_the_note(theo: Client) -> None:
    exam = makers.make_exam(makers.make_appointment().order)
    sent = {"series_count": "3", "image_count": "412", "comment": "Moved once."}
    response = theo.post(f"/exams/{exam.pk}/complete", sent)
    assert (response.status_code, response.headers["Location"]) == (303, "/rooms/CT1")
    exam.refresh_from_db()
    assert (exam.status, exam.series_count, exam.image_count, exam.comment) == (
        "completed",
        3,
        412,
        "Moved once.",
    )
    exam.order.refresh_from_db()
    assert exam.order.status == "performed"
    assert theo.post(f"/exams/{exam.pk}/complete", sent).status_code == 409


def test_the_machines_numbers_are_filled_in(theo: Client) -> None:
    order = makers.make_order()
    makers.make_room()
    procedure = order.procedures.get()
    begin_performed_step(
        NewPerformedStep(
            "1.2.3",
            "CT1",
            "CT",
            timezone.now(),
            (ScheduledReference(procedure.study_instance_uid),),
            attributes=SERIES,
        ),
        by=person("epic"),
    )
    page = theo.get(f"/exams/{Exam.objects.get(order=order).pk}").content.decode()
    assert "The machine reports 2 series, 5 images." in page
    assert 'name="image_count" value="5"' in page


def test_the_end_may_have_been_a_while_ago(theo: Client) -> None:
    exam = makers.make_exam()
    Exam.objects.filter(pk=exam.pk).update(started_at=timezone.now() - timedelta(hours=1))
    ended = timezone.now() - timedelta(minutes=20)
    theo.post(f"/exams/{exam.pk}/complete", {"ended": f"{local(ended):%H:%M}"})
    exam.refresh_from_db()
    assert exam.ended_at is not None
    assert abs(exam.ended_at - ended) < timedelta(minutes=2)


def test_an_end_still_to_come_is_refused(theo: Client) -> None:
    exam = makers.make_exam()
    later = local(timezone.now() + timedelta(hours=2))
    response = theo.post(f"/exams/{exam.pk}/complete", {"ended": f"{later:%H:%M}"})
    assert response.status_code == 422
    assert "is still to come" in response.content.decode()
    exam.refresh_from_db()
    assert exam.status == "in_progress"


def test_stopping_early_needs_a_reason(theo: Client) -> None:
    exam = makers.make_exam()
    assert theo.post(f"/exams/{exam.pk}/discontinue", {}).status_code == 422
    assert theo.post(f"/exams/{exam.pk}/discontinue", {"code": "110514"}).status_code == 422
    response = theo.post(f"/exams/{exam.pk}/discontinue", {"code": "110501", "comment": "Tube."})
    assert response.status_code == 303
    exam.refresh_from_db()
    assert (exam.status, exam.discontinuation_reason) == ("discontinued", "Equipment failure")
    assert "Equipment failure" in theo.get(f"/exams/{exam.pk}").content.decode()


def test_a_mistaken_start_is_taken_back(theo: Client) -> None:
    appointment = makers.make_appointment()
    exam = makers.make_exam(appointment.order)
    assert theo.post(f"/exams/{exam.pk}/undo-start").status_code == 303
    appointment.refresh_from_db()
    assert appointment.status == "arrived"


def test_a_note_may_follow_the_exam(theo: Client) -> None:
    exam = makers.make_exam(completed=True)
    theo.post(f"/exams/{exam.pk}/comment", {"comment": "Series 3 repeated. <b>"})
    exam.refresh_from_db()
    assert exam.comment == "Series 3 repeated. <b>"
    assert "Series 3 repeated. &lt;b&gt;" in theo.get(f"/exams/{exam.pk}").content.decode()


def test_readers_look_and_do_not_touch(client: Client) -> None:
    exam = makers.make_exam()
    client.force_login(person("rita"))
    assert "Complete" not in client.get(f"/exams/{exam.pk}").content.decode().split("<main")[1]
    for verb in ("complete", "discontinue", "undo-start", "comment"):
        assert client.post(f"/exams/{exam.pk}/{verb}").status_code == 403
