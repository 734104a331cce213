"""One person, two records: everything goes to the survivor, and back when it was a mistake."""

from itertools import permutations

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from billing.actions import capture_charge
from billing.models import Charge
from ris.audit.models import AuditEvent
from ris.core.errors import Conflict, MissingData, NotAllowed
from ris.events.models import Event
from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step
from ris.orders.models import Order
from ris.patients.actions import NewVisit, find_patient, living, open_visit, update_patient
from ris.patients.merge_actions import (
    DoubleBooked,
    MergedElsewhere,
    belongings,
    merge_patients,
    move_visit,
    unmerge_patients,
    what_stands_against,
)
from ris.patients.models import Merge, Patient
from ris.patients.search import find_patients
from ris.reporting.signing import is_whole
from scheduling.models import Appointment
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def all_guards_now() -> None:
    """What is checked at the end of a transaction, checked here."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def test_everything_goes_to_the_survivor() -> None:
    """PIR-02, PIR-03, PIR-12: a planned, an examined, a reported and a charged order, and the visit."""
    real, doe = makers.make_patient(), makers.make_patient("Doe", "J133", allergies="Latex", mrn="T585125")
    visit = open_visit(doe, NewVisit("V1", "ADT1", account="133-001"), by=person("clara"))
    planned = makers.make_appointment(makers.make_order(doe, visit=visit), start=makers.next_hour(3))
    exam = makers.make_exam(makers.make_order(doe), completed=True)
    report = makers.make_report(exam, signed=True)
    charge = capture_charge(exam, "technical", by=person("ben"))

    merge = merge_patients(real, doe, by=person("mona"), reason="Same person")
    all_guards_now()
    doe.refresh_from_db()
    real.refresh_from_db()
    visit.refresh_from_db()
    assert doe.merged_into == real
    assert {Order.objects.get(pk=one).patient for one in (planned.order_id, exam.order_id)} == {real}
    assert Appointment.objects.get(pk=planned.pk).patient == real
    assert visit.patient == real
    assert Charge.objects.get(pk=charge.pk).exam.order.patient == real
    assert (real.name.family, real.allergies) == ("Okafor", "Latex")
    assert is_whole(report.parts.get(kind="final")), "a merge breaks no signature"
    # Its numbers and its name lead to the survivor.
    assert find_patient("T585125", makers.AUTHORITY) == real
    for typed in ("T585125", "Doe J133"):
        (found,) = find_patients(typed)
        assert (found.patient, found.formerly) == (real, doe.name.display)
    assert Event.objects.get(kind="patient.merged").facts == {
        "patient": real.pk, "retired": doe.pk, "merge": merge.pk,
    }  # fmt: skip
    told = AuditEvent.objects.filter(action="patient.merged").values_list("patient", flat=True)
    assert set(told) == {real.pk, doe.pk}


def test_a_modality_that_still_has_the_old_number_works_for_the_survivor() -> None:
    """PIR-04, SCN-19: a late MPPS names the retired ID."""
    real, doe = makers.make_patient(), makers.make_patient("Doe", "J1", mrn="T1")
    order = makers.make_appointment(makers.make_order(doe)).order
    merge_patients(real, doe, by=person("mona"))
    uid = order.procedures.get().study_instance_uid
    step = begin_performed_step(
        NewPerformedStep("1.2.3", "CT1", "CT", timezone.now(), (ScheduledReference(uid),), patient_id="T1"),
        by=person("epic"),
    )
    assert (step.problem, step.exams.get().order.patient) == ("", real)


@pytest.mark.parametrize("steps", list(permutations([("b", "a"), ("c", "b"), ("d", "c")]))[::2])
def test_merges_in_any_order_end_in_one_record(steps: tuple[tuple[str, str], ...]) -> None:
    """PIR-07: chains flatten whatever the order; a second time changes nothing; a circle is refused."""
    people = {name: makers.make_patient(f"Person{name}") for name in "abcd"}
    orders = {name: makers.make_order(one) for name, one in people.items()}
    for into, out_of in steps:
        merge_patients(people[into], people[out_of], by=person("mona"))
    facts = Event.objects.filter(kind="patient.merged").count()
    for into, out_of in steps:
        merge_patients(people[into], people[out_of], by=person("mona"))
    merge_patients(people["d"], people["a"], by=person("mona"))
    all_guards_now()
    assert Event.objects.filter(kind="patient.merged").count() == facts == 3
    assert set(Patient.objects.exclude(pk=people["d"].pk).values_list("merged_into", flat=True)) == {
        people["d"].pk
    }
    assert {Order.objects.get(pk=one.pk).patient for one in orders.values()} == {people["d"]}
    for retired in "abcd":
        with pytest.raises(Conflict, match="circle"):
            merge_patients(people[retired], people["d"], by=person("mona"))
    # Taken back the other way round, each has their own again.
    for merge in Merge.objects.order_by("-pk"):
        unmerge_patients(merge, by=person("mona"), reason="Test of the way back")
    all_guards_now()
    assert all(Order.objects.get(pk=one.pk).patient == people[name] for name, one in orders.items())
    assert not Patient.objects.exclude(merged_into=None).exists()


def test_a_record_goes_into_one_other_only() -> None:
    a, b, c = (makers.make_patient(name) for name in ("One", "Two", "Three"))
    merge_patients(b, a, by=person("mona"))
    with pytest.raises(MergedElsewhere):
        merge_patients(c, a, by=person("mona"))


def test_two_appointments_at_one_time_wait_for_a_person() -> None:
    real, doe = makers.make_patient(), makers.make_patient("Doe")
    makers.make_appointment(makers.make_order(real), room=makers.make_room("CT1"))
    planned = makers.make_appointment(makers.make_order(doe), room=makers.make_room("CT2"))
    with pytest.raises(DoubleBooked):
        merge_patients(real, doe, by=person("mona"))
    planned.order.refresh_from_db()
    doe.refresh_from_db()
    assert (planned.order.patient, doe.merged_into) == (doe, None), "nothing half done"


def test_taking_a_merge_back_gives_each_their_own() -> None:
    """PIR-08: exactly what went comes back; what came since stays."""
    real, doe = (
        makers.make_patient(alerts="Pacemaker"),
        makers.make_patient("Doe", allergies="Latex", alerts="Falls"),
    )
    own, theirs = makers.make_order(real), makers.make_appointment(makers.make_order(doe)).order
    merge = merge_patients(real, doe, by=person("mona"))
    later = makers.make_order(doe)
    assert later.patient == real, "an order for the old record is the survivor's"
    with pytest.raises(MissingData):
        unmerge_patients(merge, by=person("mona"), reason=" ")
    with pytest.raises(NotAllowed):
        unmerge_patients(merge, by=person("theo"), reason="Not mine to do")
    unmerge_patients(merge, by=person("mona"), reason="Two different people")
    all_guards_now()
    for order, whose in ((own, real), (theirs, doe), (later, real)):
        order.refresh_from_db()
        assert order.patient == whose
    assert theirs.appointments.get().patient == doe
    real.refresh_from_db()
    assert (real.allergies, real.alerts) == ("", "Pacemaker")
    with pytest.raises(Conflict, match="already"):
        unmerge_patients(merge, by=person("mona"), reason="Again")


def test_a_merge_stands_once_later_facts_rest_on_it() -> None:
    a, b, c = (makers.make_patient(name) for name in ("One", "Two", "Three"))
    visit = open_visit(a, NewVisit("V1"), by=person("clara"))
    first = merge_patients(b, a, by=person("mona"))
    second = merge_patients(c, b, by=person("mona"))
    assert "merged since" in what_stands_against(first)
    unmerge_patients(second, by=person("mona"), reason="Wrong")
    visit.refresh_from_db()
    makers.make_order(b, visit=visit)
    assert "new orders" in what_stands_against(first)
    move_visit(visit, c, by=person("mona"))
    assert "moved to another patient" in what_stands_against(first)
    with pytest.raises(Conflict, match="moved to another patient"):
        unmerge_patients(first, by=person("mona"), reason="Wrong too")


def test_nothing_can_be_done_for_a_retired_record() -> None:
    """PIR-11, and the guards below the verbs: no row may name a record that is merged."""
    real, doe = makers.make_patient(), makers.make_patient("Doe")
    order = makers.make_order(real)
    merge_patients(real, doe, by=person("mona"))
    with pytest.raises(Conflict, match="merged into another one"):
        update_patient(doe, {"family": "Risen"}, by=person("clara"))
    statements = (
        "UPDATE orders_order SET patient_id = %(doe)s WHERE id = %(order)s",
        "INSERT INTO patients_visit (patient_id, number, authority, status, status_at, version, patient_class, location,"
        " previous_location, service, account, patient_type, financial_class, pregnancy)"
        " VALUES (%(doe)s, 'V', '', 'active', now(), 1, 'O', '', '', '', '', '', '', '')",
    )
    for statement in statements:
        with (
            pytest.raises(IntegrityError, match="merged"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, {"doe": doe.pk, "order": order.pk})
    # And the other way round: a record with orders cannot be retired behind the verb's back.
    third = makers.make_patient("Third")
    with pytest.raises(IntegrityError, match="still has records"):
        retire_by_force(real, third)
    assert living(doe) == real


@transaction.atomic
def retire_by_force(patient: Patient, into: Patient) -> None:
    Patient.objects.filter(pk=patient.pk).update(merged_into=into)
    all_guards_now()


def test_every_table_of_a_patient_says_whether_it_moves() -> None:
    """A new table with a patient must be thought of: `visit_path`, or a relation without a name (a trace of the past)."""
    staying = {"PatientIdentifier"}  # numbers stay with the record, and lead on
    named = {
        one.related_model.__name__ for one in Patient._meta.related_objects if one.field.name == "patient"
    }
    facts = {"Implant", "Reaction", "RenalValue", "Statement"}
    moving = {"Visit", "Order", "Appointment"} | facts
    assert named - staying == {model.__name__ for model in belongings()} == moving
