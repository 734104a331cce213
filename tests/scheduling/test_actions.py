"""What the verbs promise beyond the flow."""

from datetime import timedelta

import pytest
from django.utils import timezone

from ris.core.errors import IllegalTransition
from ris.exams import actions as exams
from scheduling import actions as scheduling
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def test_a_call_to_the_room_taken_back_leaves_the_wait_running() -> None:
    came = timezone.now() - timedelta(minutes=25)
    appointment = scheduling.check_in(makers.make_appointment(), by=person("clara"), at=came)
    called = scheduling.make_ready(appointment, by=person("clara"))
    waiting = scheduling.undo_ready(called, by=person("clara"))
    assert (waiting.status, waiting.arrived_at) == ("arrived", came)
    assert waiting.steps.get().status == "arrived"
    with pytest.raises(IllegalTransition):
        scheduling.undo_ready(waiting, by=person("clara"))


def test_an_exam_started_by_mistake_leaves_the_wait_running() -> None:
    came = timezone.now() - timedelta(minutes=25)
    appointment = scheduling.check_in(makers.make_appointment(), by=person("clara"), at=came)
    (exam,) = exams.start_exam(appointment.order, by=person("theo"))
    exams.undo_start(exam, by=person("theo"))
    appointment.refresh_from_db()
    assert (appointment.status, appointment.arrived_at) == ("arrived", came)
