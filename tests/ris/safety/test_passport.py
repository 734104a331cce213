"""May we today? Rules against facts, clearances, and what stands until when (features T09, idea 15)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ris.core.errors import BadValue, IllegalTransition, MissingData, NotAllowed
from ris.core.formats import today
from ris.events.models import Event
from ris.events.outbox import relay_all
from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step, start_exam
from ris.orders.models import Answer, Order
from ris.orders.states import OrderStatus
from ris.patients.merge_actions import merge_patients, unmerge_patients
from ris.safety.actions import ask_clearance, clear_rule, note_fact, set_rule, verify_fact, withdraw_fact
from ris.safety.models import (
    AnswerSet,
    Clearance,
    Implant,
    PatientFact,
    Reaction,
    RenalValue,
    Stage,
    Statement,
)
from ris.safety.passport import Stopped, passport_for, passports_for, refuse_if_stopped
from ris.safety.reading import egfr_of
from ris.safety.rules import RULES, Verdict
from ris.safety.worklists import asked_clearances, waiting_count
from tests import makers
from tests.cast import person
from tests.ris.safety.cases import order_of, screen

pytestmark = pytest.mark.django_db
NO, ASK, IF, YES = Verdict.NO, Verdict.ASK, Verdict.CONDITIONS, Verdict.YES
YOUNG = {"birth_date": "1998-03-02", "sex": "F"}


def renal(egfr: int, days: int = 3) -> RenalValue:
    return RenalValue(egfr=egfr, measured_on=today() - timedelta(days=days), source="lab")


def said(kind: str, value: str) -> Statement:
    return Statement(kind=kind, value=value)


#: (exam, patient, facts, verdict, rules that fired, and whether it stops).
CASES: list[tuple[str, dict[str, str], list[PatientFact], Verdict, set[str], bool]] = [
    ("US", {}, [Implant(name="Pacemaker", mr="unsafe")], YES, set(), False),
    ("MR", {}, [], YES, set(), False),
    ("MR", {}, [Implant(name="Pacemaker", mr="unsafe")], NO, {"mr-implant"}, True),
    ("MR", {}, [Implant(name="Clip", mr="unknown")], NO, {"mr-implant"}, True),
    ("MR", {}, [Implant(name="Hip", mr="conditional", max_tesla=Decimal(3))], NO, {"mr-implant"}, True),
    ("MR", {}, [Implant(name="Plate", mr="safe")], YES, set(), False),
    ("CT", {}, [Implant(name="Pacemaker", mr="unsafe")], YES, set(), False),
    # Pregnancy: by sex, age and what the beam meets.
    ("CT", YOUNG, [], NO, {"pregnancy"}, True),
    ("CT", YOUNG, [said("pregnancy", "not")], YES, set(), False),
    ("CT", YOUNG, [said("pregnancy", "possible")], NO, {"pregnancy"}, True),
    ("CT", YOUNG, [said("pregnancy", "unknown")], NO, {"pregnancy"}, True),
    ("CT", {"birth_date": "1998-03-02", "sex": "M"}, [], YES, set(), False),
    ("CT", {"birth_date": "", "sex": "F"}, [], NO, {"pregnancy"}, True),
    ("CT", {"birth_date": "2020-03-02", "sex": "F"}, [], YES, set(), False),
    ("XRHAND", YOUNG, [], YES, set(), False),
    ("NM", YOUNG, [], NO, {"pregnancy"}, True),
    ("MR", YOUNG, [said("pregnancy", "definite")], ASK, {"mr-pregnancy"}, False),
    # Contrast.
    ("CTC", {}, [], ASK, {"renal-missing"}, False),
    ("CTC", {}, [renal(72)], YES, set(), False),
    ("CTC", {}, [renal(72, days=91)], ASK, {"renal-missing"}, False),
    ("CTC", {}, [renal(41)], IF, {"renal-reduced"}, False),
    ("CTC", {}, [renal(22)], NO, {"renal-low"}, False),
    ("CTC", {}, [renal(22), said("metformin", "yes")], NO, {"renal-low", "metformin"}, False),
    ("CTC", {}, [renal(72), said("metformin", "yes")], YES, set(), False),
    ("MRC", {}, [renal(41)], YES, set(), False),
    ("CTC", {}, [renal(72), Reaction(kind="iodine", severity="mild")], IF, {"reaction"}, False),
    ("CTC", {}, [renal(72), Reaction(kind="iodine", severity="severe")], NO, {"reaction-severe"}, False),
    ("CTC", {}, [renal(72), Reaction(kind="gadolinium", severity="severe")], YES, set(), False),
    ("CTC", {"allergies": "Iodinated contrast"}, [renal(72)], ASK, {"allergies"}, False),
    ("XA", {}, [said("anticoagulant", "yes")], IF, {"anticoagulant"}, False),
    ("MR", {}, [said("claustrophobia", "yes"), said("weight", "231")], ASK, {"claustrophobia", "weight"}, False),
]  # fmt: skip


def test_every_rule_speaks_of_its_facts_and_no_others() -> None:
    wrong = []
    for number, (kind, patient, facts, verdict, fired, stops) in enumerate(CASES):
        order = order_of(kind, **patient)
        for fact in facts:
            fact.pk, fact.patient = None, order.patient
            note_fact(fact, by=person("theo"))
        passport = passport_for(order)
        found = (passport.verdict, {one.rule for one in passport.fired}, bool(passport.stops))
        if found != (verdict, fired, stops):
            wrong.append((number, kind, patient, found))
    assert wrong == []


def test_only_the_named_rules_stop() -> None:
    assert {code for code, rule in RULES.items() if rule.stops} == {"mr-implant", "pregnancy"}


@pytest.mark.usefixtures("questionnaires")
def test_answers_make_a_device_a_condition_or_a_question() -> None:
    order = order_of("MR")
    assert {one.rule for one in passport_for(order).fired} == {"screening"}
    screen(order, Stage.ARRIVAL, splinters="yes", tattoo="yes", narrow="yes")
    found = passport_for(order)
    assert found.verdict == ASK
    assert {one.rule for one in found.fired} == {"screening", "answers", "claustrophobia"}
    assert not found.reviewed
    screen(order, pacemaker="yes")
    found = passport_for(order)
    assert found.reviewed
    assert [one.rule for one in found.stops] == ["mr-implant"]
    assert "No device is recorded" in found.stops[0].sentence
    # The device answers for itself once it is recorded.
    note_fact(Implant(patient=order.patient, name="Pacemaker", mr="safe"), by=person("theo"))
    assert passport_for(order).verdict == YES
    screen(order)
    assert Statement.objects.filter(kind="implants").count() == 1, "a device on record is not spoken away"
    # Not to be sure goes to a person.
    screen(order, tattoo="unknown")
    assert passport_for(order).verdict == ASK


def test_a_stop_refuses_the_start_and_names_who_can_clear_it() -> None:
    order = order_of("MR")
    makers.make_room("MR1", "MR")
    device = note_fact(
        Implant(patient=order.patient, name="Pacemaker", mr="conditional", max_tesla=Decimal("1.5")),
        by=person("theo"),
    )
    with pytest.raises(Stopped, match=r"up to 1.5 T.*A radiologist can clear it"):
        start_exam(order, by=person("theo"))
    with pytest.raises(NotAllowed):
        clear_rule(order, "mr-implant", reason="Looked it up", by=person("theo"))
    with pytest.raises(MissingData):
        clear_rule(order, "mr-implant", reason=" ", by=person("rita"))
    ask_clearance(order, "mr-implant", by=person("theo"), note="Cardiology is here")
    assert waiting_count() == 1
    assert [row.order for row in asked_clearances()] == [order]
    clear_rule(order, "mr-implant", reason="Do not", by=person("rita"), granted=False)
    assert waiting_count() == 0
    with pytest.raises(Stopped, match="Rita Radiologist says no"):
        refuse_if_stopped(order, by=person("theo"))
    cleared = clear_rule(order, "mr-implant", reason="1.5 T, programmed", by=person("rita"))
    assert cleared.covers == [device.key]
    passport = passport_for(order)
    assert passport.verdict == IF
    assert passport.fired[0].until == today()
    with pytest.raises(BadValue, match="nothing to clear"):
        clear_rule(order, "mr-implant", reason="again", by=person("rita"))
    # What comes to be known later was not looked at.
    clip = note_fact(Implant(patient=order.patient, name="Clip"), by=person("theo"))
    assert [one.source for one in passport_for(order).stops] == [clip.key]
    withdraw_fact(clip, reason="Another patient's", by=person("theo"))
    # Tomorrow somebody looks again.
    assert passport_for(order, at=timezone.now() + timedelta(days=1)).stops
    start_exam(order, by=person("theo"))
    kinds = set(Event.objects.filter(subject=order.subject).values_list("kind", flat=True))
    assert {"safety.clearance_asked", "safety.refused", "safety.cleared", "exam.started"} <= kinds


def test_what_a_machine_has_begun_is_flagged_and_never_refused() -> None:
    order = order_of("CT", **YOUNG)
    makers.make_room()
    study = order.procedures.get().study_instance_uid
    step = NewPerformedStep("1.2.3", "CT1", "CT", timezone.now(), (ScheduledReference(study),))
    begin_performed_step(step, by=person("epic"))
    relay_all()
    order.refresh_from_db()
    assert order.status == OrderStatus.IN_PROGRESS
    assert Event.objects.get(kind="safety.begun_against_stop").facts["rules"] == ["pregnancy"]


@pytest.mark.usefixtures("questionnaires")
def test_what_is_known_is_used_at_the_next_visit_until_it_expires() -> None:
    first = order_of("CTC", **YOUNG)
    note_fact(
        RenalValue(patient=first.patient, egfr=72, measured_on=today() - timedelta(days=60), source="lab"),
        by=person("theo"),
    )
    screen(first, metformin="yes")
    assert passport_for(first).verdict == YES
    exam = first.procedures.get().procedure_type
    second = makers.make_order(first.patient, procedure_type=exam)
    assert passport_for(second).verdict == YES, "one review serves both exams of a day"
    later = timezone.now() + timedelta(days=20)
    found = passport_for(second, at=later)
    assert {one.rule for one in found.fired} == {"pregnancy", "screening"}
    assert [one.until for one in found.stands if one.rule == "renal-missing"] == [
        today() + timedelta(days=30)
    ]
    # What was said comes with the form, and is only gone through.
    assert found.screens[0].sets[Stage.INTERVIEW].answers
    screen(second, at=later, metformin="yes")
    assert passport_for(second, at=later).verdict == YES
    assert {one.rule for one in passport_for(second, at=later + timedelta(days=20)).fired} == {
        "pregnancy", "screening", "renal-missing", "metformin",
    }  # fmt: skip
    assert "metformin" not in {one.rule for one in passport_for(second, at=later).fired}


def test_a_site_sets_its_own_figures() -> None:
    order = order_of("CT", birth_date="1974-05-05", sex="F")
    assert passport_for(order).stops
    values = {"active": True, "valid_days": 0, "limit": None, "age_from": 12, "age_to": 50, "modalities": ["CT"],
              "except_parts": []}  # fmt: skip
    with pytest.raises(NotAllowed):
        set_rule("pregnancy", values, by=person("theo"))
    set_rule("pregnancy", values, by=person("ada"))
    assert passport_for(order).verdict == YES
    with pytest.raises(BadValue):
        set_rule("pregnancy", values | {"age_from": 60}, by=person("ada"))


def with_answers(*answers: Answer) -> Order:
    order = order_of("CTC", **YOUNG)
    changed = makers.make_order(
        order.patient, procedure_type=order.procedures.get().procedure_type, answers=answers
    )
    relay_all()
    return changed


@pytest.mark.usefixtures("questionnaires")
def test_answers_told_with_the_order_become_facts_once() -> None:
    """ORD-13: OBX with creatinine, pregnancy and answers to the same questions."""
    order = with_answers(
        Answer(code="2160-0", question="Creatinine", value="0.9", units="mg/dL"),
        Answer(code="82810-3", question="Pregnancy status", value="Not pregnant", units=""),
        Answer(code="Q1", question="Contrast reaction before?", value="Y", units=""),
    )
    value = RenalValue.objects.get(patient=order.patient)
    assert value.calculated
    assert value.egfr == egfr_of(Decimal("0.9"), 28, "F") == 89
    assert Statement.objects.get(patient=order.patient, kind="pregnancy").value == "not"
    told = AnswerSet.objects.get(order=order, stage=Stage.ORDER)
    assert told.answers == {"before": {"value": "yes"}}
    from ris.safety.actions import take_from_order

    withdraw_fact(value, reason="Wrong sample", by=person("theo"))
    assert take_from_order(order, by=person("epic")) == []
    assert {"renal-missing", "answers"} <= {one.rule for one in passport_for(order).fired}


def test_a_fact_stays_as_it_was_written_and_is_withdrawn_with_a_reason() -> None:
    order = order_of("MR")
    device = note_fact(Implant(patient=order.patient, name="Clip", mr="unsafe"), by=person("clara"))
    with pytest.raises(NotAllowed):
        verify_fact(device, by=person("clara"))
    assert verify_fact(device, by=person("theo")).verified_by == person("theo")
    for column, value in (("mr", "safe"), ("name", "Stent")):
        with (
            pytest.raises(IntegrityError, match="stays as it was written"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"UPDATE safety_implant SET {column} = %s WHERE id = %s", [value, device.pk])
    with pytest.raises(MissingData):
        withdraw_fact(device, reason="", by=person("theo"))
    withdraw_fact(device, reason="Was taken out", by=person("theo"))
    assert passport_for(order).verdict == YES
    with pytest.raises(IllegalTransition):
        withdraw_fact(device, reason="again", by=person("theo"))
    with pytest.raises(BadValue):
        note_fact(
            RenalValue(patient=order.patient, egfr=70, measured_on=today() + timedelta(days=1)),
            by=person("theo"),
        )
    with pytest.raises(BadValue):
        note_fact(Statement(patient=order.patient, kind="pregnancy", value="perhaps"), by=person("theo"))


def test_facts_go_with_a_merge_and_come_back() -> None:
    real, doe = makers.make_patient("Real"), makers.make_patient("Doe")
    note_fact(Implant(patient=doe, name="Pacemaker", mr="unsafe"), by=person("theo"))
    kind = makers.make_procedure_type("MRKNEE", name="MR knee", modality="MR", body_part="Knee")
    order = makers.make_order(real, procedure_type=kind)
    assert not passport_for(order).stops
    merge = merge_patients(real, doe, by=person("clara"))
    assert passport_for(order).stops
    unmerge_patients(merge, reason="Two people", by=person("clara"))
    assert not passport_for(order).stops


@pytest.mark.usefixtures("questionnaires")
def test_many_passports_cost_as_many_queries_as_one() -> None:
    def counted(orders: list[Order]) -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            for passport in passports_for(Order.objects.filter(pk__in=[one.pk for one in orders])).values():
                assert passport.summary
        return len(seen)

    orders = []
    for kind in ("MR", "CTC", "CT", "NM"):
        order = order_of(kind, **YOUNG)
        screen(order, Stage.ARRIVAL)
        note_fact(Implant(patient=order.patient, name="Clip", verified_by=person("theo")), by=person("theo"))
        orders.append(order)
    ask_clearance(orders[0], "mr-implant", by=person("theo"))
    clear_rule(orders[0], "mr-implant", reason="Seen", by=person("rita"))
    assert Clearance.objects.count() == 1
    assert counted(orders[:1]) == counted(orders) <= 15
