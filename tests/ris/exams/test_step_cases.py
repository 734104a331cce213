"""Performed steps as departments make them: several for one exam, one for several, two machines, the wrong entry."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Charge
from ris.core.errors import Conflict, IllegalTransition
from ris.department.models import Facility, Station
from ris.events.models import Event
from ris.events.outbox import relay_all
from ris.exams import actions
from ris.exams.actions import NewImages, NewPerformedStep, PerformedChange, ScheduledReference, SeriesImages
from ris.exams.actions.events import change_exam
from ris.exams.doses import dose_of
from ris.exams.images import image_check
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.performed import performed_difference
from ris.orders.actions import NewOrder
from ris.orders.models import Order
from ris.patients.merge_actions import merge_patients
from ris.reporting import actions as reporting
from scheduling.models import ScheduledProcedureStep
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def reference(scheduled: ScheduledProcedureStep, **changes: str) -> ScheduledReference:
    values = {
        "study_instance_uid": scheduled.procedure.study_instance_uid,
        "step_id": scheduled.step_id,
        **changes,
    }
    return ScheduledReference(**values)


def planned(order: Order | None = None, **fields: Any) -> Order:
    return makers.make_appointment(order, **fields).order


def begin(order: Order | None, uid: str = "1.2.3", **changes: Any) -> PerformedProcedureStep:
    references = (
        [reference(one) for one in ScheduledProcedureStep.objects.filter(procedure__order=order)]
        if order
        else []
    )
    values = {"station_ae_title": "CT1", "modality": "CT", "references": tuple(references), **changes}
    return actions.begin_performed_step(
        NewPerformedStep(uid, started_at=timezone.now(), **values), by=person("epic")
    )


def series(uid: str, images: int) -> dict[str, Any]:
    named = [{"00081155": {"vr": "UI", "Value": [f"{uid}.{number}"]}} for number in range(images)]
    return {"0020000E": {"vr": "UI", "Value": [uid]}, "00081140": {"vr": "SQ", "Value": named}}


def made(*all_series: tuple[str, int], **more: Any) -> PerformedChange:
    told = {"00400340": {"vr": "SQ", "Value": [series(*one) for one in all_series]}, **more}
    return PerformedChange(attributes=told, ended_at=timezone.now())


def complete(uid: str = "1.2.3", *all_series: tuple[str, int], **more: Any) -> PerformedProcedureStep:
    return actions.complete_performed_step(uid, made(*all_series, **more), by=person("epic"))


def stop(uid: str, code: str, *all_series: tuple[str, int]) -> PerformedProcedureStep:
    change = PerformedChange(
        attributes=made(*all_series).attributes, ended_at=timezone.now(), discontinuation_code=code
    )
    return actions.discontinue_performed_step(uid, change, by=person("epic"))


def state(order: Order) -> tuple[str, list[str], list[str]]:
    order.refresh_from_db()
    steps = ScheduledProcedureStep.objects.filter(procedure__order=order).order_by("pk")
    exams = Exam.objects.filter(order=order).order_by("pk")
    return order.status, [one.status for one in steps], [one.status for one in exams]


def completions(order: Order) -> int:
    return Event.objects.filter(kind="exam.completed", subject=order.subject).count()


# Several steps, several exams


def test_an_exam_of_several_steps_ends_once_and_has_the_images_of_all() -> None:
    """MPPS-12, SCN-10: the append case; also for what comes after the end, as long as nobody has read it."""
    order = planned()
    begin(order, "1.2.1")
    begin(order, "1.2.2")
    complete("1.2.1", ("5.1", 3))
    assert state(order) == ("in_progress", ["started"], ["in_progress"])
    complete("1.2.2", ("5.2", 4), ("5.1", 3))
    assert state(order) == ("performed", ["completed"], ["completed"])
    exam = Exam.objects.get()
    assert (exam.series_count, exam.image_count) == (2, 7)
    assert begin(order, "1.2.3").problem == ""
    complete("1.2.3", ("5.3", 2))
    exam.refresh_from_db()
    assert (exam.series_count, exam.image_count) == (3, 9)
    assert completions(order) == 1


def test_a_machine_that_makes_exams_in_pieces_leaves_their_end_to_the_technologist() -> None:
    """MPPS-12: no early CM; sign-off."""
    order = planned()
    Station.objects.update(ends_exams=False)
    for number in (1, 2):
        begin(order, f"1.2.{number}")
        complete(f"1.2.{number}", (f"5.{number}", 10))
        assert state(order) == ("in_progress", ["started"], ["in_progress"])
    actions.complete_exam(Exam.objects.get(), by=person("theo"), series_count=2, image_count=20)
    assert state(order) == ("performed", ["completed"], ["completed"])
    assert completions(order) == 1


def test_images_after_the_report_wait_for_a_person() -> None:
    """MPPS-16: they are kept with the exam, and nobody overlooks them."""
    order = planned()
    begin(order, "1.2.1")
    complete("1.2.1", ("5.1", 3))
    makers.make_report(Exam.objects.get(), signed=True)
    step = begin(order, "1.2.2")
    assert (step.problem_kind, step.exams.get().order) == ("after_report", order)
    complete("1.2.2", ("5.2", 3))
    assert state(order)[0] == "reported"


def test_one_acquisition_for_several_orders_starts_and_ends_them_together() -> None:
    """MPPS-11: chest, abdomen, pelvis in one step; the dose is told once."""
    patient = makers.make_patient()
    orders = [planned(makers.make_order(patient), start=makers.next_hour(number)) for number in (1, 3, 5)]
    steps = ScheduledProcedureStep.objects.order_by("pk")
    begin(None, references=tuple(map(reference, steps)))
    assert [state(one)[0] for one in orders] == ["in_progress"] * 3
    complete("1.2.3", ("5.1", 30), **{"0018115E": {"vr": "DS", "Value": [12.5]}})
    assert [state(one) for one in orders] == [("performed", ["completed"], ["completed"])] * 3
    doses = [dose_of(one) for one in Exam.objects.order_by("pk")]
    assert [bool(one) for one in doses] == [True, False, False]
    assert doses[0] is not None
    assert (doses[0].source, doses[0].dap_gycm2) == ("mpps", Decimal("1.25"))


def test_an_exam_on_two_machines_is_over_when_both_are() -> None:
    """MPPS-13: one procedure with two entries; the second stays on the worklist until it is begun."""
    kind = makers.make_procedure_type("PETCT", name="PET/CT", modality="PT", also_on=["CT"])
    makers.make_room("PT1", modality="PT")
    order = planned(
        makers.make_order(code="PETCT", procedure_type=kind), room=makers.make_room("PT1", modality="PT")
    )
    pet, ct = ScheduledProcedureStep.objects.order_by("pk")
    assert (pet.modality, ct.modality) == ("PT", "CT")
    begin(None, "1.2.1", references=(reference(ct),))
    assert state(order) == ("in_progress", ["scheduled", "started"], ["in_progress"])
    complete("1.2.1", ("5.1", 80))
    assert state(order) == ("in_progress", ["scheduled", "completed"], ["in_progress"])
    begin(None, "1.2.2", references=(reference(pet),), modality="PT", station_ae_title="PT1")
    complete("1.2.2", ("5.2", 200))
    assert state(order) == ("performed", ["completed", "completed"], ["completed"])
    assert Exam.objects.get().image_count == 280
    assert not PerformedProcedureStep.objects.exclude(problem="")


# Stopped


@pytest.mark.parametrize(("code", "after", "step"), [
    ("110501", "scheduled", "arrived"), ("110516", "scheduled", "arrived"), ("110505", "discontinued", "discontinued"),
    ("110503", "discontinued", "discontinued"), ("nonsense", "discontinued", "discontinued"),
])  # fmt: skip
def test_a_stopped_exam_comes_back_or_ends_by_the_rule_of_the_site(code: str, after: str, step: str) -> None:
    """MPPS-14: the reason is kept, nothing is complete."""
    order = planned()
    begin(order)
    stop("1.2.3", code)
    assert state(order) == (after, [step], ["discontinued"])
    assert Exam.objects.get().discontinuation_code == (code if code.isdigit() else "110513")
    assert completions(order) == 0
    if after == "scheduled":
        begin(order, "1.2.4")
        complete("1.2.4", ("5.1", 1))
        assert state(order) == ("performed", ["completed"], ["discontinued", "completed"])


def test_a_site_may_let_every_stopped_exam_end() -> None:
    order = planned()
    Facility.objects.update(comes_back_after=[])
    begin(order)
    stop("1.2.3", "110501")
    assert state(order)[0] == "discontinued"


def test_the_wrong_entry_goes_back_and_its_images_wait_for_their_patient() -> None:
    """MPPS-15, SCN-08: then a person gives them to the right order; nothing is charged to the wrong one."""
    wrong, right = (
        planned(),
        planned(makers.make_order(makers.make_patient("Right")), start=makers.next_hour(4)),
    )
    begin(wrong)
    step = stop("1.2.3", "110514", ("5.1", 12))
    assert state(wrong) == ("scheduled", ["arrived"], ["entered_in_error"])
    assert (step.problem_kind, step.exams.count()) == ("wrong_entry", 0)
    begin(right, "1.2.4")
    complete("1.2.4", ("5.2", 20))
    actions.match_performed_step(step, right, by=person("theo"))
    exam = Exam.objects.get(order=right)
    assert (exam.status, exam.image_count) == ("completed", 32)
    relay_all()
    assert set(Charge.objects.values_list("exam", flat=True)) == {exam.pk}


def test_the_wrong_entry_among_several_steps_takes_only_its_own_images_away() -> None:
    order = planned()
    begin(order, "1.2.1")
    begin(order, "1.2.2")
    complete("1.2.1", ("5.1", 5))
    stop("1.2.2", "110514", ("5.2", 7))
    assert state(order) == ("performed", ["completed"], ["completed"])
    assert Exam.objects.get().image_count == 5


def test_a_person_ends_a_step_whose_machine_never_will() -> None:
    """MPPS-21: what the machine says later is refused."""
    order = planned()
    step = begin(order)
    actions.close_performed_step(step, "completed", by=person("theo"))
    assert state(order)[0] == "performed"
    with pytest.raises(IllegalTransition, match="may no longer be updated"):
        complete("1.2.3", ("5.1", 5))


# Whose they are


def test_who_a_patient_is_says_the_number_else_name_and_birth_date_together() -> None:
    """MPP-09, MPPS-16: a detail that was corrected since is no other patient."""
    patient = makers.make_patient(mrn="100", birth_date="1970-01-02")
    other = date(1981, 5, 6)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"patient_id": "100"}, ""),
        ({"patient_id": "100", "patient_id_issuer": makers.AUTHORITY}, ""),
        ({"patient_id": "100", "patient_id_issuer": "nobody we know"}, ""),
        ({"patient_id": "100", "birth_date": other, "patient_name": "OKAFOR^A"}, ""),
        ({"patient_id": "100", "birth_date": other, "patient_name": "SMITH^A"}, "patient_differs"),
        ({"patient_id": "200"}, "other_patient"),
        ({"birth_date": other, "patient_name": "OKAFOR^A"}, ""),
        ({"patient_name": "SMITH^A"}, ""),
        ({"birth_date": other, "patient_name": "SMITH^A"}, "other_patient"),
    ]
    for number, (said, kind) in enumerate(cases):
        order = planned(makers.make_order(patient), start=makers.next_hour(number + 1))
        assert begin(order, f"1.3.{number}", **said).problem_kind == kind, said
        assert state(order)[0] == ("scheduled" if kind == "other_patient" else "in_progress"), said


def test_a_step_with_a_merged_number_is_the_survivors() -> None:
    """MPPS-19, SCN-19: a late MPPS after a merge, and one that names no order is offered the survivor's."""
    survivor, retired = makers.make_patient(mrn="100"), makers.make_patient("Doe", mrn="900")
    order = planned(makers.make_order(retired))
    merge_patients(survivor, retired, by=person("epic"))
    step = begin(order, patient_id="900", patient_name="DOE^JOHN", birth_date=date(1900, 1, 1))
    assert step.problem == ""
    assert state(order)[0] == "in_progress"
    assert step.exams.get().order.patient == survivor


def test_the_exam_before_its_order_keeps_the_study_of_its_images() -> None:
    """MPPS-10, SCN-05: no new Study Instance UID; the archive's notice finds it."""
    uid = "1.2.840.113619.9"
    makers.make_room()
    step = begin(None, references=(ScheduledReference(uid),), patient_name="DOE^JOHN")
    complete("1.2.3", ("5.1", 6))
    step.refresh_from_db()
    patient, kind = makers.make_patient(), makers.make_procedure_type()
    new = NewOrder(patient=patient, facility=makers.make_facility(), procedure_type=kind, reason="Trauma")
    order = actions.order_performed_step(step, new, by=person("theo"))
    assert state(order) == ("performed", [], ["completed"])
    assert order.procedures.get().study_instance_uid == uid
    images = actions.note_images(NewImages(uid, source="ian", instance_count=6), by=person("epic"))
    assert (images.procedure, images.problem) == (order.procedures.get(), "")


def test_a_matched_order_takes_the_study_its_images_were_made_under() -> None:
    """MPPS-10: unless it has images under its own."""
    order = planned()
    own = order.procedures.get().study_instance_uid
    for number, uid in ((1, "1.2.840.1"), (2, "1.2.840.2")):
        step = begin(None, f"1.2.{number}", references=(ScheduledReference(uid),))
        actions.match_performed_step(step, order, by=person("theo"))
        assert order.procedures.get().study_instance_uid == "1.2.840.1" != own
    assert state(order) == ("in_progress", ["started"], ["in_progress"])


def test_a_match_is_taken_back() -> None:
    order = planned()
    step = begin(None, references=(ScheduledReference("1.2.840.1"),))
    complete("1.2.3", ("5.1", 6))
    step.refresh_from_db()
    actions.match_performed_step(step, order, by=person("theo"))
    assert state(order)[0] == "performed"
    step = actions.unmatch_performed_step(step, by=person("theo"))
    assert state(order) == ("scheduled", ["arrived"], ["entered_in_error"])
    assert step.problem
    relay_all()
    assert not Charge.objects.exclude(status="voided").exists()


def test_a_wrong_pick_moves_to_the_right_order_but_never_past_a_reader() -> None:
    """A signed report is not changed in silence: it is withdrawn first."""
    wrong, right = (
        planned(),
        planned(makers.make_order(makers.make_patient("Right")), start=makers.next_hour(4)),
    )
    step = begin(wrong)
    complete("1.2.3", ("5.1", 6))
    step.refresh_from_db()
    exam = Exam.objects.get()
    report = makers.make_report(exam, signed=True)
    with pytest.raises(Conflict, match="withdraws it"):
        actions.reassign_performed_step(step, right, reason="Wrong entry", by=person("theo"))
    reporting.withdraw_report(report, "wrong_patient", by=person("rita"))
    actions.reassign_performed_step(step, right, reason="Wrong entry", by=person("theo"))
    assert state(wrong) == ("scheduled", ["arrived"], ["entered_in_error"])
    assert state(right) == ("performed", ["completed"], ["completed"])
    fact = Event.objects.get(kind="performed_step.reassigned").facts
    assert (fact["patient"], fact["to_patient"]) == (wrong.patient_id, right.patient_id)
    relay_all()
    charged = Charge.objects.exclude(status="voided")
    assert [one.exam.order for one in charged] == [right]


# What was done, and what came of it


def code(value: str, tag: str = "00081032") -> dict[str, Any]:
    item = {"00080100": {"vr": "SH", "Value": [value]}, "00080104": {"vr": "LO", "Value": [f"{value} done"]}}
    return {tag: {"vr": "SQ", "Value": [item]}}


def test_what_was_performed_instead_is_told_and_taken_with_one_click() -> None:
    """MPPS-17, SCN-11: by the performed code, else the protocol's; charged by what was done."""
    neck = makers.make_procedure_type("CTNECK", name="CT neck", technical_code="NECK-T")
    cases = [
        ({}, None), (code("CTHEAD"), None), (code("CTNECK"), neck), (code("ELSE"), None),
        (code("CTNECK", "00400260"), neck), (code("CTHEAD") | code("CTNECK", "00400260"), None),
    ]  # fmt: skip
    for number, (told, expected) in enumerate(cases):
        order = planned(start=makers.next_hour(number + 1)) if number else planned()
        begin(order, f"1.4.{number}")
        complete(f"1.4.{number}", ("5.1", 6), **told)
        found = performed_difference(Exam.objects.get(order=order))
        assert (found.procedure_type if found else None) == expected, told
        assert bool(found) == ("ELSE" in str(told) or expected is not None), told
    exam = Exam.objects.filter(order__procedures__isnull=False).order_by("pk")[2]
    change_exam(exam, neck, reason="As the machine reported it", by=person("theo"))
    exam = Exam.objects.get(pk=exam.pk)
    assert exam.procedure.label == "CT neck"
    assert performed_difference(exam) is None
    relay_all()
    assert [one.code for one in exam.charges.exclude(status="voided")] == ["NECK-T"]


def test_images_sent_are_set_against_images_held() -> None:
    """IAN-02, MPPS-22: notices add up, by instance where both sides name them; nearline is not readable at once."""
    order = planned()
    uid = order.procedures.get().study_instance_uid
    begin(order)
    complete("1.2.3", ("5.1", 2), ("5.2", 2))
    exam = Exam.objects.get()
    assert image_check(exam).words == "4 sent, not seen in the archive yet"

    def notice(name: str, *numbers: int, level: str = "ONLINE") -> StudyImages:
        one = SeriesImages(name, [f"{name}.{number}" for number in numbers], availability=level)
        return actions.note_images(NewImages(uid, source="ian", series=[one], whole=False), by=person("epic"))

    notice("5.1", 0)
    notice("5.2", 0, 1)
    check = image_check(exam)
    assert (check.words, check.missing, check.complete) == ("4 sent, 3 in the archive", 1, False)
    facts = Event.objects.filter(kind="images.noted").count()
    notice("5.2", 0, 1)
    assert Event.objects.filter(kind="images.noted").count() == facts == 2
    notice("5.1", 1)
    assert image_check(exam).complete
    notice("5.1", 1, level="NEARLINE")
    assert not image_check(exam).complete
    assert image_check(exam).words == "4 sent, 4 nearline"


def test_a_study_nobody_announced_waits_and_is_matched() -> None:
    images = actions.note_images(
        NewImages("1.2.840.5", source="qido", instance_count=9, patient_name="DOE^JOHN"), by=person("epic")
    )
    assert images.problem
    order = planned()
    actions.match_images(images, order, by=person("theo"))
    assert state(order) == ("performed", ["completed"], ["completed"])
    assert Exam.objects.get().image_count == 9
    images.refresh_from_db()
    assert (images.problem, order.procedures.get().study_instance_uid) == ("", "1.2.840.5")
    assert images.seen_at - images.first_seen_at < timedelta(minutes=5)
