"""What modalities report is always kept; what does not fit waits for a person."""

from typing import Any

import pytest
from django.utils import timezone

from ris.core.errors import Duplicate, IllegalTransition
from ris.exams import actions
from ris.exams.actions import NewPerformedStep, PerformedChange, ScheduledReference
from ris.exams.models import Exam, PerformedProcedureStep
from ris.orders.models import Order
from scheduling.actions import cancel_order
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def begin(order: Order | None, uid: str = "1.2.3", **changes: Any) -> PerformedProcedureStep:
    references: tuple[ScheduledReference, ...] = ()
    if order is not None:
        procedure = order.procedures.get()
        references = (ScheduledReference(procedure.study_instance_uid, order.accession_number),)
    values = {"station_ae_title": "CT1", "modality": "CT", **changes}
    return actions.begin_performed_step(
        NewPerformedStep(uid, started_at=timezone.now(), references=references, **values), by=person("epic")
    )


def complete(uid: str = "1.2.3") -> PerformedProcedureStep:
    return actions.complete_performed_step(uid, PerformedChange(ended_at=timezone.now()), by=person("epic"))


def test_a_step_begins_and_ends_its_exam() -> None:
    order = makers.make_appointment().order
    begin(order)
    order.refresh_from_db()
    assert order.status == "in_progress"
    complete()
    order.refresh_from_db()
    assert order.status == "performed"


def test_a_step_of_an_unknown_order_is_kept_for_a_person() -> None:
    step = begin(None)
    assert step.problem
    assert Exam.objects.count() == 0
    with pytest.raises(Duplicate):
        begin(None)


def test_a_step_of_another_patient_starts_nothing() -> None:
    order = makers.make_appointment().order
    step = begin(order, patient_id="somebody else")
    order.refresh_from_db()
    assert order.status == "scheduled"
    assert "patient" in step.problem


def test_a_step_of_a_cancelled_order_starts_nothing() -> None:
    order = makers.make_appointment().order
    cancel_order(order, reason="Duplicate", by=person("clara"))
    assert begin(order).problem == "Its order is cancelled."
    assert Exam.objects.count() == 0


def test_a_step_on_another_modality_is_taken_and_pointed_out() -> None:
    order = makers.make_appointment().order
    step = begin(order, modality="MR")
    order.refresh_from_db()
    assert order.status == "in_progress"
    assert step.problem == "It was done on MR, planned was CT."


def test_a_step_of_an_unknown_code_waits_for_the_code() -> None:
    step = begin(makers.make_order(code="WEIRD"))
    assert step.problem == "The exam code of its order is not known yet."
    assert Exam.objects.count() == 0


def test_an_exam_of_two_steps_completes_with_the_last() -> None:
    order = makers.make_appointment().order
    begin(order, "1.2.1")
    begin(order, "1.2.2")
    complete("1.2.1")
    assert Exam.objects.get().status == "in_progress"
    complete("1.2.2")
    assert Exam.objects.get().status == "completed"


def test_the_wrong_worklist_entry_goes_back_on_the_worklist() -> None:
    appointment = makers.make_appointment()
    begin(appointment.order)
    actions.discontinue_performed_step(
        "1.2.3", PerformedChange(discontinuation_code="110514"), by=person("epic")
    )
    appointment.order.refresh_from_db()
    assert appointment.order.status == "scheduled"
    assert appointment.steps.get().status == "arrived"


def test_nothing_changes_a_step_that_has_ended() -> None:
    begin(makers.make_appointment().order)
    complete()
    with pytest.raises(IllegalTransition, match="may no longer be updated"):
        complete()
