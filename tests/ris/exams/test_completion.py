"""Exams whose machine never says that they are over: what shows it, what the rules make of it, and what is said later."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Charge
from billing.states import ChargeStatus
from interfaces.models import StationTwin
from ris.core.errors import BadValue, Conflict, IllegalTransition, NotAllowed
from ris.events.models import Event
from ris.events.outbox import relay_all
from ris.exams import actions, completion
from ris.exams.actions import (
    NewImages,
    NewPerformedStep,
    PerformedChange,
    ScheduledReference,
    set_completion_rule,
)
from ris.exams.actions.evidence import sweep
from ris.exams.models import CompletionByEvidence, Exam, PerformedProcedureStep
from ris.exams.models_completion import EvidenceKind, Response
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.reporting import actions as reporting
from ris.reporting.worklists import reading_list
from scheduling.models import ScheduledProcedureStep
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def begin(
    order: Order | None = None, uid: str = "1.2.7", **ago: float
) -> tuple[Exam, PerformedProcedureStep]:
    """An exam that its machine began and says no more of."""
    makers.make_room()
    order = order or makers.make_appointment().order
    procedure = order.procedures.get()
    step = actions.begin_performed_step(
        NewPerformedStep(
            uid, "CT1", "CT", timezone.now() - timedelta(**ago), (ScheduledReference(procedure.study_instance_uid),)
        ),
        by=person("epic"),
    )  # fmt: skip
    return Exam.objects.get(procedure=procedure), step


def made(series: int, images: int) -> dict[str, Any]:
    """A Performed Series Sequence (0040,0340) of so many images."""
    told = [{"00081155": {"vr": "UI", "Value": [f"1.2.7.{number}"]}} for number in range(images)]
    parts = [told[number::series] for number in range(series)]
    return {
        "00400340": {
            "vr": "SQ",
            "Value": [
                {
                    "0020000E": {"vr": "UI", "Value": [f"1.2.8.{place}"]},
                    "00081140": {"vr": "SQ", "Value": part},
                }
                for place, part in enumerate(parts)
            ],
        }
    }


def archive_tells(order: Order, count: int = 212, **more: Any) -> None:
    actions.note_images(
        NewImages(
            order.procedures.get().study_instance_uid, source="qido", series_count=4, instance_count=count, **more
        ),
        by=person("epic"),
    )  # fmt: skip


def do(evidence: str, minutes: int = 0, **where: Any) -> None:
    set_completion_rule(evidence, response=Response.DO, minutes=minutes, by=person("ada"), **where)


def later(**ago: float) -> datetime:
    return timezone.now() + timedelta(**ago)


def test_images_that_stand_still_propose_the_end_in_words() -> None:
    """MPPS-18, MPPS-21: proposed after 20 minutes, done by nobody but a person."""
    exam, _ = begin(hours=1)
    archive_tells(exam.order)
    running = list(completion.running())
    assert completion.verdicts(running, later(minutes=19)) == {}
    verdict = completion.verdicts(running, later(minutes=21))[exam.pk]
    assert verdict.response == Response.PROPOSE
    assert verdict.words.startswith("MPPS began ")
    assert " and never ended; 212 images in the archive since " in verdict.words
    assert sweep(later(minutes=21)) == 0
    archive_tells(exam.order, 240)
    assert "240 images" in completion.verdicts(running, later(minutes=30))[exam.pk].words


def test_a_rule_that_does_it_ends_the_exam_with_its_evidence_as_a_modality_would() -> None:
    """MPPS-18: the same facts go downstream as from an N-SET."""
    do("images", 10)
    exam, step = begin(hours=1)
    archive_tells(exam.order)
    assert sweep(later(minutes=5)) == 0
    assert sweep(later(minutes=11)) == 1
    exam.refresh_from_db()
    step.refresh_from_db()
    assert (exam.status, exam.image_count, exam.series_count) == ("completed", 212, 4)
    assert step.status == "in_progress"
    assert Order.objects.get().status == OrderStatus.PERFORMED
    kept = CompletionByEvidence.objects.get()
    assert (kept.exam, kept.evidence, kept.by.username) == (exam, "images", "system.evidence")
    assert "212 images" in kept.words
    kinds = set(Event.objects.filter(subject=exam.order.subject).values_list("kind", flat=True))
    assert {"exam.completed", "exam.completed_by_evidence"} <= kinds
    assert sweep(later(minutes=12)) == 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("completed", ("completed", 198, "")),
        ("discontinued", ("completed", 212, "The machine says it was stopped; the exam was completed here.")),
    ],
)
def test_the_machines_later_word_takes_its_place_or_goes_to_a_person(
    said: str, expected: tuple[str, int, str]
) -> None:
    """MPPS-21: nothing is overridden in silence."""
    do("images")
    exam, step = begin(hours=1)
    archive_tells(exam.order)
    sweep(later(minutes=1))
    ended = timezone.now() - timedelta(minutes=20)
    change = PerformedChange(made(3, 198), ended_at=ended, discontinuation_code="110505")
    if said == "completed":
        actions.complete_performed_step(step.sop_instance_uid, change, by=person("epic"))
    else:
        actions.discontinue_performed_step(step.sop_instance_uid, change, by=person("epic"))
    exam.refresh_from_db()
    step.refresh_from_db()
    assert (exam.status, exam.image_count, step.problem) == expected
    assert step.status == said
    confirmed = Event.objects.filter(kind="exam.end_confirmed").exists()
    assert confirmed == (said == "completed")
    assert (exam.ended_at == ended) == confirmed


def test_a_step_that_comes_after_an_exam_done_by_hand_attaches_to_it() -> None:
    """MPPS-18: and fills in what nobody had counted."""
    appointment = makers.make_appointment()
    (exam,) = actions.start_exam(appointment.order, by=person("theo"))
    actions.complete_exam(exam, by=person("theo"))
    same, step = begin(appointment.order)
    assert (same, step.problem, list(step.exams.all())) == (exam, "", [exam])
    change = PerformedChange(made(2, 40), ended_at=timezone.now())
    actions.complete_performed_step(step.sop_instance_uid, change, by=person("epic"))
    exam.refresh_from_db()
    assert (exam.status, exam.image_count) == ("completed", 40)


def test_the_next_exam_on_the_machine_shows_that_the_last_is_over() -> None:
    do("idle", 5, station=makers.make_room().stations.get())
    first, _ = begin(hours=2)
    other = makers.make_order(makers.make_patient("Lind"))
    begin(other, uid="1.2.8", hours=1)
    verdict = completion.verdicts(list(completion.running()))[first.pk]
    assert "CT1 began its next exam" in verdict.words
    assert sweep() == 1
    first.refresh_from_db()
    assert first.ended_at is not None
    assert timezone.now() - first.ended_at > timedelta(minutes=55)
    assert Exam.objects.get(order=other).status == "in_progress"


def test_a_report_of_the_same_order_shows_that_the_exam_is_over() -> None:
    """Two procedures of one order, read together: one has been signed, the other never ended."""
    exam, _ = begin(hours=3)
    kind = makers.make_procedure_type("CTCHEST", name="CT chest")
    second = exam.order.procedures.create(
        number=2,
        procedure_type=kind,
        code="CTCHEST",
        study_instance_uid="1.2.66",
        requested_procedure_id="R66",
    )
    left = Exam.objects.create(order=exam.order, procedure=second, started_at=timezone.now())
    actions.complete_exam(exam, by=person("theo"))
    makers.make_report(exam)
    verdict = completion.verdicts([left])[left.pk]
    assert verdict.evidence.kind == EvidenceKind.REPORT
    assert "the report of the same order was begun" in verdict.words


def test_images_of_an_exam_nobody_began_begin_and_end_it() -> None:
    """MPPS-18: begun when the first image came; one rule for a modality, another for all."""
    appointment = makers.make_appointment()
    archive_tells(appointment.order, 30)
    (found,) = completion.unstarted()
    assert found.words.startswith("Nobody started it; 30 images in the archive since ")
    assert sweep(later(hours=1)) == 0
    do("images", 10, modality="CT")
    assert sweep(later(minutes=5)) == 1
    exam = Exam.objects.get()
    assert (exam.status, exam.technologist) == ("in_progress", None)
    assert sweep(later(minutes=11)) == 1
    exam.refresh_from_db()
    assert (exam.status, exam.image_count) == ("completed", 30)


def test_an_end_is_taken_back_with_all_that_came_of_it_and_not_done_again() -> None:
    """The charge is voided, partners hear that it goes on, and only a person may end it now."""
    do("images")
    exam, _ = begin(hours=1)
    archive_tells(exam.order)
    sweep(later(minutes=1))
    relay_all()
    assert Charge.objects.get().status != ChargeStatus.VOIDED
    actions.reopen_exam(exam, reason="Second series still to come", by=person("theo"))
    relay_all()
    exam.refresh_from_db()
    assert (exam.status, exam.ended_at) == ("in_progress", None)
    assert Order.objects.get().status == OrderStatus.IN_PROGRESS
    assert ScheduledProcedureStep.objects.get().status == "started"
    assert Charge.objects.get().status == ChargeStatus.VOIDED
    assert list(CompletionByEvidence.objects.order_by("pk").values_list("reopened", flat=True)) == [
        False,
        True,
    ]
    assert sweep(later(hours=2)) == 0
    actions.complete_exam(exam, by=person("theo"))
    with pytest.raises(NotAllowed):
        actions.reopen_exam(exam, reason="x", by=person("rita"))
    reporting.open_report(exam, by=person("rita"))
    with pytest.raises(Conflict, match="Rita Radiologist has begun to read"):
        actions.reopen_exam(exam, reason="Too late", by=person("theo"))


def test_what_cannot_be_is_refused() -> None:
    exam = makers.make_exam(completed=True)
    evidence = completion.Evidence(EvidenceKind.IMAGES, "x", timezone.now(), timezone.now())
    with pytest.raises(IllegalTransition):
        actions.complete_by_evidence(exam, evidence, words="x", by=person("theo"))
    for wrong in ({"response": "always"}, {"minutes": 5000}):
        values: dict[str, Any] = {"response": "do", "minutes": 5, **wrong}
        with pytest.raises(BadValue):
            set_completion_rule("images", by=person("ada"), **values)


def test_a_machine_that_fell_silent_shows_that_its_exam_is_over() -> None:
    """MPPS-21: after two hours without a word it is proposed; another rule may do it."""
    exam, _ = begin(hours=4)
    StationTwin.objects.create(ae_title="CT1", last_heard_at=timezone.now() - timedelta(hours=3))
    verdict = completion.verdicts(list(completion.running()))[exam.pk]
    assert "CT1 has said nothing since " in verdict.words
    StationTwin.objects.update(last_heard_at=timezone.now() - timedelta(minutes=30))
    assert completion.verdicts(list(completion.running())) == {}


def test_the_reading_list_says_which_images_have_not_come_and_takes_the_word_back_when_they_have() -> None:
    """IAN-02, MPPS-22: 40 made, 12 in the archive; then all of them."""
    exam, step = begin(hours=1)
    actions.complete_performed_step(
        step.sop_instance_uid, PerformedChange(made(2, 40), ended_at=timezone.now()), by=person("epic")
    )
    assert [case.images_wanting for case in reading_list(person("rita"))] == [""]  # no archive has spoken
    archive_tells(exam.order, 12)
    assert [case.images_wanting for case in reading_list(person("rita"))] == ["40 sent, 12 in the archive"]
    archive_tells(exam.order, 40)
    assert [case.images_wanting for case in reading_list(person("rita"))] == [""]
