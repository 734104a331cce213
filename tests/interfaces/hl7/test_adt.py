"""ADT in: the lives of patients and visits, who is whom, and what waits for a person."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hl7apy.parser import parse_message

from interfaces.actions import configure_endpoint
from interfaces.hl7 import held, receiver
from interfaces.hl7.mllp import Frame
from interfaces.models import Case, CaseKind, CaseStatus, Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.core.errors import Conflict, NotAllowed
from ris.events.models import Delivery, Event
from ris.events.outbox import relay_all
from ris.orders.models import Order
from ris.patients.actions import find_patient
from ris.patients.merge_actions import merge_patients, unmerge_patients
from ris.patients.models import Merge, Patient, Visit
from scheduling.actions import cancel_appointment
from tests.cast import person
from tests.interfaces.hl7.samples import DATA, msh, orm
from tests.makers import (
    make_appointment,
    make_exam,
    make_facility,
    make_order,
    make_procedure_type,
    make_report,
    make_room,
)
from tests.peers.emr import Ack, Entry

pytestmark = pytest.mark.django_db

Say = Callable[..., Ack]


@pytest.fixture(autouse=True)
def hospital(db: None) -> Endpoint:
    make_facility()
    make_procedure_type()
    return sender()


def sender(**profile: str) -> Endpoint:
    values = {"protocol": "mllp", "direction": "in", "profile": profile}
    return configure_endpoint("adt", values, by=system_user("shell"))


def take(message: str) -> Ack:
    (answer,) = receiver.receive(Frame(message.encode()), "10.0.0.9")
    return Ack(answer)


def pid(mrn: str = "1", name: str = "OKAFOR^ADAEZE", born: str = "19680714", account: str = "") -> str:
    return f"PID|||{mrn}^^^HOSP^MR||{name}||{born}|F||||||||||{account}".rstrip("|")


def pv1(cls: str = "I", place: str = "4E^401^A", number: str = "V1", **fields: str) -> str:
    values = {
        2: cls,
        3: place,
        7: "1234^WEAVER^TIMOTHY",
        10: "MED",
        19: f"{number}^^^HOSP",
        45: fields.get("out", ""),
    }
    return ("PV1" + "".join(f"|{values.get(n, '')}" for n in range(1, 46))).rstrip("|")


def event(trigger: str, minute: int = 0, *segments: str) -> str:
    """An ADT `minute` minutes after noon."""
    evn = f"EVN|{trigger}|202603011{200 + minute:03d}"
    return "\r".join([msh(f"ADT^{trigger}"), evn, *(segments or (pid(), pv1())), ""])


def mrg(mrn: str, name: str = "DOE^J", rest: str = "") -> str:
    return f"MRG|{mrn}^^^HOSP{rest}|||{mrn}^^^HOSP|||{name}".replace("^^^HOSP|||", "^^^HOSP||" + "|", 1)


def visit(number: str = "V1") -> Visit:
    return Visit.objects.get(number=number)


def named(mrn: str) -> Patient:
    found = find_patient(mrn, "HOSP")
    assert found is not None
    return found


def cases(kind: CaseKind) -> list[Case]:
    return list(Case.objects.filter(kind=kind, status=CaseStatus.OPEN).order_by("pk"))


# Visits


def test_a_visit_lives_as_the_hospital_tells_it() -> None:
    """Event, what PV1 says, and what is then true of the visit.

    ADT-01, ADT-02, ADT-03, ADT-04, ADT-05, ADT-06, ADT-07, ADT-08, ADT-09, ADT-10, ADT-11, ADT-16.
    """
    assert take(event("A05", 0, pid(account="ACC1"), pv1("P", "CLINIC"))).code == "AA"
    story = [
        ("A05", "P", "CLINIC", "preadmit", "P", "CLINIC"),
        ("A01", "I", "4E^401^A", "active", "I", "4E^401^A"),
        ("A02", "I", "ICU^1^B", "active", "I", "ICU^1^B"),
        ("A12", "I", "", "active", "I", "4E^401^A"),
        ("A03", "I", "4E^401^A", "discharged", "I", "4E^401^A"),
        ("A13", "I", "4E^401^A", "active", "I", "4E^401^A"),
        ("A07", "O", "CLINIC", "active", "O", "CLINIC"),
        ("A06", "I", "4E^402^A", "active", "I", "4E^402^A"),
        ("A08", "I", "4E^403^A", "active", "I", "4E^403^A"),
        ("A11", "I", "4E^403^A", "cancelled", "I", "4E^403^A"),
        ("A01", "I", "4E^403^A", "active", "I", "4E^403^A"),
        ("A14", "I", "ICU", "active", "I", "4E^403^A"),
        ("A09", "I", "ICU", "active", "I", "4E^403^A"),
    ]
    for minute, (trigger, cls, place, status, then_cls, then_place) in enumerate(story):
        ack = take(event(trigger, minute, pid(account="ACC1"), pv1(cls, place)))
        now = visit()
        assert (trigger, ack.code) == (trigger, "AA")
        assert (trigger, now.status, now.patient_class, now.location) == (
            trigger,
            status,
            then_cls,
            then_place,
        )
        assert (now.discharged_at is not None) == (status == "discharged")
    assert (now.account, now.service, str(now.attending)) == ("ACC1", "MED", "WEAVER, TIMOTHY")
    assert take(event("A05", 30, pid(), pv1("P", number="V2"))).code == "AA"
    assert take(event("A38", 31, pid(), pv1("P", number="V2"))).code == "AA"
    assert take(event("A11", 32, pid(), pv1("I", number="V9"))).code == "AA"
    assert visit("V2").status == "cancelled"
    assert not Visit.objects.filter(number="V9").exists(), "nothing comes of the end of what was not known"


def test_older_news_do_not_overwrite_newer() -> None:
    """ADT-25: an update and a transfer that come late change nothing."""
    take(event("A01", 0))
    take(event("A02", 20, pid(name="OKAFOR-BELL^ADAEZE"), pv1(place="ICU")))
    assert take(event("A08", 10, pid(), pv1(place="OLD"))).code == "AA"
    assert (named("1").family, visit().location) == ("OKAFOR-BELL", "ICU")


def test_open_orders_follow_the_class_and_account_of_the_visit() -> None:
    """ADT-06: an A06 with the same visit number, and one with a number of its own."""
    take(event("A04", 0, pid(account="ACC-O"), pv1("O")))
    take(orm(number="A1^EMR", person=pid(account="ACC-O")).replace("V131-1^^^HOSP", "V1^^^HOSP"))
    order = Order.objects.get()
    take(event("A06", 5, pid(account="ACC-I"), pv1("I")))
    order.refresh_from_db()
    assert order.visit is not None
    assert (order.visit.number, order.visit.patient_class, order.visit.account) == ("V1", "I", "ACC-I")
    take(event("A06", 9, pid(account="ACC-2"), pv1("I", number="V2")))
    order.refresh_from_db()
    assert order.visit is not None
    assert (order.visit.number, order.visit.account, visit("V1").status) == ("V2", "ACC-2", "discharged")


def test_orders_of_a_visit_that_ends_are_a_persons_to_decide() -> None:
    """ADT-03, ADT-09: flagged, never deleted; what reopens the visit solves it."""
    take(event("A01", 0))
    order = make_order(named("1"), visit=visit())
    take(event("A03", 1))
    (case,) = cases(CaseKind.OTHER)
    assert (case.accession_number, case.sentence) == (
        order.accession_number, "The inpatient of this order was discharged before the exam.",
    )  # fmt: skip
    take(event("A13", 2))
    assert cases(CaseKind.OTHER) == []
    take(event("A11", 3))
    assert [one.sentence for one in cases(CaseKind.OTHER)] == ["The visit of this order was cancelled."]
    order.refresh_from_db()
    assert order.status == "requested"


def test_a_patient_who_comes_is_checked_in_where_the_site_says_so() -> None:
    """ADT-04, ADT-08: A10 with profile `tracking`."""
    take(event("A28", 0, pid()))
    appointment = make_appointment(make_order(named("1")), start=timezone.now() + timedelta(minutes=5))
    take(event("A10", 1))
    appointment.refresh_from_db()
    assert appointment.status == "booked"
    sender(tracking="yes")
    if appointment.starts_at.astimezone().date() == timezone.now().astimezone().date():
        take(event("A10", 2))
        appointment.refresh_from_db()
        assert appointment.status == "arrived"


# Patients


def test_an_unknown_patient_is_added_or_refused() -> None:
    """ADT-24, ADT-14."""
    assert take(event("A31", 0, pid("7"))).code == "AA"
    assert named("7").birth_date == "1968-07-14"
    sender(unknown_patient="reject")
    ack = take(event("A08", 1, pid("8"), pv1()))
    assert (ack.code, ack.error) == ("AE", "204")
    assert take(event("A04", 2, pid("8"), pv1())).code == "AA"


def test_what_pid_says_beside_the_name_is_kept() -> None:
    """PID-B, PID-D, PID-G, PID-I, OTH-A, OTH-B, ADT-23."""
    line = (
        "PID|||1^^^HOSP^MR~99^^^STATE^SS||BELL^ADAEZE^^^^^L~OKAFOR^ADAEZE^^^^^M||19680714|F|ADA^O|WH^White|1 MAIN^^SALEM"
        "||555||fr|||||||||Y|1|||||"
    )
    nk1, in1 = "NK1|1|OKAFOR^CHIDI|SPO^Spouse|1 MAIN|5551", "IN1|1|PPO^Plan|77|ACME" + "|" * 32 + "P123"
    assert take(event("A28", 0, line, nk1, "AL1|1|DA|^Penicillin|SV", "AL1|2|DA|^Latex", in1)).code == "AA"
    patient = named("99") if find_patient("99", "HOSP") else find_patient("99", "STATE")
    assert patient is not None
    assert (patient.family, patient.aliases, patient.race, patient.multiple_birth) == (
        "BELL", "O ADA; ADAEZE OKAFOR", "White", True,
    )  # fmt: skip
    assert patient.allergies == "Penicillin; Latex"
    assert patient.contacts[0]["relation"] == "Spouse"
    assert (patient.coverages[0]["company"], patient.coverages[0]["policy"]) == ("ACME", "P123")
    take(event("A60", 1, pid(), "IAM|1|DA|^Latex|||D", "IAM|2|DA|^Iodine|||A"))
    patient.refresh_from_db()
    assert patient.allergies == "Penicillin; Iodine"


def test_each_field_of_pid_and_pv1_finds_its_place() -> None:
    """Conformance 3.2: what is sent in which field, and what is then known."""
    line = (
        "PID||0815|1^^^HOSP^MR||BELL^ADAEZE^B^JR^MRS^^L~山田^花子^^^^^L^I||19680714|F||WH|1 MAIN^^SALEM^MA^01970||5550001"
        "^PRN^PH~5550002^PRN^CP~^NET^Internet^a@b.example|5559|fr^French|||ACC1|||||||||||20260228|Y"
    )
    visit_line = (
        "PV1||E|ER^4^B^HARBOUR||||1234^WEAVER^TIM|5101^NELL^FRED||EMD|||||B6|VIP|77^CHEN^LI|AMB|V1^^^HOSP|SELF"
        + "|" * 24
        + "20260301080000||||||V"
    )
    sender(vip="restrict")
    assert take(event("A04", 0, line, visit_line)).code == "AA"
    patient, seen = named("1"), visit()
    known: list[tuple[str, object, object]] = [
        ("PID-A", find_patient("0815", "HOSP"), None),
        ("PID-C", (patient.family, patient.given, patient.middle), ("BELL", "ADAEZE", "B")),
        ("PID-C", (patient.suffix, patient.prefix), ("JR", "MRS")),
        ("PID-C", patient.ideographic, "山田^花子"),
        ("PID-E", patient.birth_date, "1968-07-14"),
        ("PID-F", patient.sex, "F"),
        ("PID-G", (patient.race, patient.address, patient.phone), ("WH", "1 MAIN, SALEM, MA 01970", "5550001")),
        ("PID-G", (patient.mobile, patient.email, patient.language), ("5550002", "a@b.example", "French")),
        ("PID-H", seen.account, "ACC1"),
        ("PID-I", patient.died_on, "2026-02-28"),
        ("PV1-A", seen.patient_class, "E"),
        ("PV1-B", seen.location, "ER^4^B^HARBOUR"),
        ("PV1-C", (str(seen.attending), seen.service, str(seen.admitting)), ("WEAVER, TIM", "EMD", "CHEN, LI")),
        ("PV1-D", str(seen.referring), "NELL, FRED"),
        ("PV1-E", seen.pregnancy, "B6"),
        ("PV1-F", (seen.patient_type, seen.financial_class, patient.restricted), ("AMB", "SELF", True)),
        ("PV1-G", (seen.number, seen.authority), ("V1", "HOSP")),
        ("PV1-H", seen.admitted_at and f"{seen.admitted_at:%Y-%m-%d}", "2026-03-01"),
        ("EVN-A", seen.updated_at and f"{seen.updated_at:%Y-%m-%d}", "2026-03-01"),
    ]  # fmt: skip
    assert [(row, found) for row, found, _ in known] == [(row, expected) for row, _, expected in known]


def test_a_signed_report_keeps_its_patient_until_a_person_decides() -> None:
    """reliability 1.6: another name and another birth date at once are held; one of them alone is a correction."""
    take(event("A28", 0, pid()))
    take(event("A08", 1, pid(name="BELL^GRACE", born="19900101")))
    assert named("1").family == "BELL", "nothing is signed yet, so the sender is believed"
    make_report(make_exam(make_order(named("1")), completed=True), signed=True)
    take(event("A08", 2, pid(name="BELL-OKAFOR^GRACE", born="19900101")))
    take(event("A08", 3, pid(name="BELL-OKAFOR^GRACE", born="19900102")))
    assert (named("1").family, named("1").birth_date) == ("BELL-OKAFOR", "1990-01-02")
    other = event("A08", 4, pid(name="ROSSI^CARLA", born="19550505"), pv1(number="V5"))
    assert take(other).code == "AA"
    assert (named("1").family, Visit.objects.count()) == ("BELL-OKAFOR", 0)
    (case,) = cases(CaseKind.SIGNED_REPORT)
    assert "ROSSI" not in case.sentence
    with pytest.raises(NotAllowed):
        held.apply_case(case, by=person("theo"))
    held.apply_case(case, by=person("mona"))
    case.refresh_from_db()
    assert (named("1").family, visit("V5").patient, case.status) == ("ROSSI", named("1"), "solved")
    with pytest.raises(Conflict):
        held.apply_case(case, by=person("mona"))


def test_the_real_name_of_an_unknown_patient_needs_nobody() -> None:
    """PIR-09, SCN-03: MESA 103; also when the temporary record had a birth date, and its report is signed."""
    folder = DATA / "mesa/rendered-hl7/rad/adt/103"
    text = (folder / "103.103.a04.hl7").read_bytes().decode("latin-1")
    assert take(text.replace("|||M|", "||19000101|M|")).code == "AA"
    doe = find_patient("583295", "ADT1")
    assert doe is not None
    assert doe.family == "DOE"
    make_report(make_exam(make_order(doe), completed=True), signed=True)
    assert take((folder / "103.130.a08.hl7").read_bytes().decode("latin-1")).code == "AA"
    doe.refresh_from_db()
    assert (doe.family, doe.given, doe.birth_date) == ("SILVERHEELS", "JAY", "1900-01-02")
    assert cases(CaseKind.SIGNED_REPORT) == []


# Who is whom


def two(first: str = "1", second: str = "2") -> tuple[Patient, Patient]:
    take(event("A28", 0, pid(first)))
    take(event("A28", 0, pid(second, "DOE^J", "")))
    return named(first), named(second)


@pytest.mark.parametrize("trigger", ["A18", "A34", "A36", "A39", "A40"])
def test_every_generation_of_merge_messages_is_read(trigger: str) -> None:
    """ADT-12, ADT-17, PIR-01, PIR-10: the survivor keeps name and details."""
    real, doe = two()
    take(event("A04", 1, pid("2", "DOE^J", "", "ACC2"), pv1("O", number="V2")))
    order = make_order(doe, visit=visit("V2"))
    message = event(
        trigger, 5, pid("1", "OTHER^NAME", "19991231", "ACC1"), "MRG|2^^^HOSP||ACC2|2^^^HOSP|||DOE^J"
    )
    for _ in range(2):
        assert take(message.replace("|T0", "|R0") if _ else message).code == "AA"
    order.refresh_from_db()
    real.refresh_from_db()
    assert (order.patient, real.family, real.birth_date) == (real, "OKAFOR", "1968-07-14")
    assert (named("2"), Merge.objects.count()) == (real, 1)
    assert visit("V2").account == ("ACC1" if trigger == "A36" else "ACC2")


def test_one_message_may_merge_several() -> None:
    """PIR-01 (2.5.1), MRG-1 as PID-3 is 205 (PIR-05), a circle is refused (PIR-07)."""
    for number in "1234":
        take(event("A28", 0, pid(number)))
    groups = (pid("1"), "MRG|2^^^HOSP", pid("3"), "MRG|4^^^HOSP")
    assert take(event("A40", 5, *groups)).code == "AA"
    assert (named("2"), named("4")) == (named("1"), named("3"))
    ack = take(event("A40", 6, pid("1"), "MRG|1^^^HOSP"))
    assert (ack.code, ack.error) == ("AE", "205")
    assert take(event("A40", 6, pid("2"), "MRG|1^^^HOSP")).code == "AE"
    assert take(event("A40", 6, pid("1"))).code == "AE"
    assert take((DATA / "hl7-samples/12-RAD-12-ADT_A40.hl7").read_text()).code == "AA"


def test_a_merge_waits_for_its_patients() -> None:
    """PIR-05 and reliability 1.3: accepted, kept as a case, applied when the second of the two is known."""
    assert take(event("A40", 5, pid("1"), "MRG|2^^^HOSP")).code == "AA"
    (case,) = cases(CaseKind.MERGE_WAITS)
    take(event("A04", 6, pid("2", "DOE^J", ""), pv1()))
    relay_all()
    assert cases(CaseKind.MERGE_WAITS) == [case]
    with pytest.raises(Conflict):
        held.apply_case(case, by=person("mona"))
    take(event("A04", 7, pid("1"), pv1(number="V2")))
    relay_all()
    assert cases(CaseKind.MERGE_WAITS) == []
    assert named("2") == named("1")
    assert visit("V1").patient == named("1")


def test_after_a_day_a_waiting_merge_is_a_persons(client: Client) -> None:
    take(event("A40", 5, pid("1"), "MRG|2^^^HOSP"))
    Case.objects.update(opened_at=timezone.now() - timedelta(hours=25))
    two()
    relay_all()
    (case,) = cases(CaseKind.MERGE_WAITS)
    client.force_login(person("mona"))
    assert b"Apply" in client.get(f"/interfaces/cases/{case.pk}").content
    assert client.post(f"/interfaces/cases/{case.pk}/apply").status_code == 303
    assert named("2") == named("1")


def test_a_site_may_have_the_unknown_of_a_merge_added() -> None:
    """PIR-05: stub and survivor from MRG-7 and PID-5, so that later messages find them."""
    sender(merge_unknown="create")
    assert take(event("A40", 5, pid("1"), "MRG|2^^^HOSP||||||DOE^J")).code == "AA"
    assert (named("2").family, Patient.objects.get(merged_into=named("1")).family) == ("OKAFOR", "DOE")


def test_a_merge_of_two_bookings_at_one_time_waits_for_the_desk() -> None:
    real, doe = two()
    make_appointment(make_order(real), room=make_room("CT1"))
    planned = make_appointment(make_order(doe), room=make_room("CT2"))
    assert take(event("A40", 5, pid("1"), "MRG|2^^^HOSP")).code == "AA"
    assert "same time" in cases(CaseKind.MERGE_WAITS)[0].sentence
    cancel_appointment(planned, reason="Patient asked", by=person("mona"))
    relay_all()
    assert cases(CaseKind.MERGE_WAITS) == []
    assert named("2") == real


def test_a_retired_number_leads_on_or_is_refused() -> None:
    """PIR-04."""
    real, doe = two()
    merge_patients(real, doe, by=person("mona"))
    assert take(event("A08", 9, pid("2", "OKAFOR^ADAEZE"), pv1(number="V7"))).code == "AA"
    assert take(orm(person=pid("2"))).code == "AA"
    assert (visit("V7").patient, Order.objects.get().patient) == (real, real)
    sender(retired_ids="reject")
    for message in (event("A08", 10, pid("2"), pv1()), orm(number="A2^EMR", person=pid("2"))):
        ack = take(message)
        assert (ack.code, ack.error) == ("AE", "204")


def test_merges_and_registrations_in_any_order_end_alike() -> None:
    """reliability F11: registrations, an order and a chain of merges, shuffled."""
    messages = [
        *(event("A28", 0, pid(mrn, f"P^{mrn}")) for mrn in "1234"),
        orm(person=pid("4", "P^4")).replace("V131-1^^^HOSP", ""),
        *(event("A40", 5, pid(into), f"MRG|{out_of}^^^HOSP") for into, out_of in ("34", "23", "12")),
    ]
    for seed in range(3):
        mixed = messages.copy()
        random.Random(seed).shuffle(mixed)
        prefix = f"S{seed}x"
        for message in mixed:
            for mrn in "1234":
                message = message.replace(f"|{mrn}^^^HOSP", f"|{prefix}{mrn}^^^HOSP")
            message = message.replace("A1^EMR", f"A{seed}^EMR").replace("|T0", f"|{prefix}")
            assert take(message).code == "AA"
            relay_all()
        people = {named(f"{prefix}{mrn}") for mrn in "1234"}
        assert (seed, people) == (seed, {Order.objects.get(placer_order_number=f"A{seed}").patient})
        assert cases(CaseKind.MERGE_WAITS) == []


def test_accounts_visits_and_numbers_are_put_right() -> None:
    """ADT-15, ADT-18, ADT-19, ADT-20, ADT-21."""
    take(event("A04", 0, pid("1", account="ACC1"), pv1("O", number="V1")))
    take(event("A04", 0, pid("2", "ROSSI^CARLA", "19550505", "ACC2"), pv1("O", number="V2")))
    order = make_order(named("2"), visit=visit("V2"))
    appointment = make_appointment(order)
    rossi = pid("2", "ROSSI^CARLA", "19550505", "ACC3")
    told: list[tuple[str, tuple[str, ...], Callable[[], bool]]] = [
        ("A41", (rossi, "MRG|2^^^HOSP||ACC2"), lambda: visit("V2").account == "ACC3"),
        ("A35", (rossi.replace("ACC3", "ACC4"), "MRG|||ACC3"), lambda: visit("V2").account == "ACC4"),
        ("A50", (rossi, "MRG|2^^^HOSP||||V2^^^HOSP", pv1("O", number="V22")), lambda: visit("V22").patient == named("2")),
        ("A45", (pid("1"), "MRG|2^^^HOSP||||V22^^^HOSP"), lambda: visit("V22").patient == named("1")),
        ("A42", (pid("1"), "MRG|1^^^HOSP||||V22^^^HOSP", pv1("O", number="V1")), lambda: order_visit(order) == "V1"),
        ("A47", (pid("11"), "MRG|1^^^HOSP"), lambda: find_patient("1", "HOSP") is None and bool(named("11"))),
        ("A28", (pid("11").replace("11^^^HOSP", "11^^^HOSP~12^^^HOSP"),), lambda: named("12") == named("11")),
        ("A43", (rossi, "MRG|12^^^HOSP"), lambda: named("12") == named("2")),
    ]  # fmt: skip
    for minute, (trigger, segments, holds) in enumerate(told, 1):
        ack = take(event(trigger, minute, *segments))
        assert (trigger, ack.code, holds()) == (trigger, "AA", True), ack.raw
    appointment.refresh_from_db()
    assert appointment.patient == named("11"), "the plan goes with the order, the order with its visit"
    ack = take(event("A47", 20, pid("11"), "MRG|2^^^HOSP"))
    assert (ack.code, ack.error) == ("AE", "205")
    sample = (DATA / "hl7-samples/20-ADT_A47.hl7").read_text()
    assert take(sample).error == "204"


def order_visit(order: Order) -> str:
    order.refresh_from_db()
    return order.visit.number if order.visit else ""


def test_links_and_deletions_change_no_record() -> None:
    """ADT-13, ADT-22."""
    one, other = two()
    assert take(event("A24", 1, pid("1"), pid("2"))).code == "AA"
    assert take(event("A37", 2, pid("1"), pid("2"))).code == "AA"
    kinds = Event.objects.filter(subject=f"patient:{one.pk}", facts__other=other.pk)
    assert [fact.kind for fact in kinds.order_by("pk")] == ["patient.linked", "patient.unlinked"]
    for trigger in ("A29", "A23"):
        assert take(event(trigger, 3, pid("2"))).code == "AA"
    assert len(cases(CaseKind.DELETION)) == 2
    assert named("2") == other


# Onward (RAD-12)


def partner(name: str = "pacs", **values: Any) -> Endpoint:
    given = {
        "protocol": "mllp", "direction": "out", "address": "127.0.0.1:1", "facts": ["orders"],
        "profile": {"patients": "yes", "procedures": "yes", "statuses": "no"}, **values,
    }  # fmt: skip
    return configure_endpoint(name, given, by=system_user("shell"))


def told(name: str = "pacs") -> list[Entry]:
    relay_all()
    assert not Delivery.objects.filter(done_at=None).exists(), Delivery.objects.filter(done_at=None).first()
    return [
        Entry(one.control_id, one.type, bytes(one.raw).decode("latin-1"), "", 0, 0)
        for one in OutboundMessage.objects.filter(endpoint__name=name).order_by("pk")
    ]


def test_who_files_images_hears_what_became_of_the_patient() -> None:
    """TX-12, TX-13, PIR-06: in the order it came, once for each message; the source hears nothing of it by default."""
    partner()
    partner("emr", profile={})
    take(event("A04", 0, pid("1", account="ACC1"), pv1("O")))
    take(event("A28", 0, pid("2", "DOE^J", "")))
    for minute, trigger in enumerate(("A02", "A06", "A03", "A13", "A08", "A11"), 1):
        take(event(trigger, minute, pid("1", account="ACC1"), pv1("I", f"W{minute}")))
    take(event("A08", 8, pid("1", "BELL^ADAEZE", account="ACC1"), pv1("I", "W8")))
    take(event("A31", 9, pid("2", "DOE^JANE", "")))
    take(event("A40", 10, pid("1"), "MRG|2^^^HOSP"))
    assert [one.type for one in told()] == [
        *(f"ADT^{trigger}" for trigger in ("A02", "A06", "A03", "A13", "A08", "A11", "A08", "A40")),
    ]  # fmt: skip
    assert told("emr") == []


def test_a_merge_taken_back_is_told_as_two_patients_and_their_procedures() -> None:
    partner()
    real, doe = two()
    make_appointment(make_order(doe))
    told()
    merge = merge_patients(real, doe, by=person("mona"))
    unmerge_patients(merge, by=person("mona"), reason="Two people")
    assert [(one.type, one.field("PID", 3)[0], one.field("ORC", 1)) for one in told()] == [
        ("ORM^O01", "2", "NW"), ("ADT^A40", "1", ""), ("ADT^A31", "1", ""), ("ADT^A31", "2", ""), ("ORM^O01", "2", "XO"),
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
def test_what_stands_in_the_messages_onward(version: str) -> None:
    """ORA-6, ORA-7, ORA-8: the fields of MESA's format checks; and both versions are valid HL7."""
    partner(hl7_version=version)
    doe_visit = pv1("E", "ER", "V2").replace(
        "1234^WEAVER^TIMOTHY", "1234^WEAVER^TIMOTHY|5101^NELL^FREDERICK", 1
    )
    take(event("A04", 0, pid("1", account="133-001"), pv1("I", number="V1")))
    take(event("A04", 0, pid("2", "DOE^J133", "", "133-002"), doe_visit))
    ward = doe_visit.replace("PV1||E|ER", "PV1||I|4E^401^A")
    for minute, trigger in enumerate(("A06", "A03"), 1):
        take(event(trigger, minute, pid("2", "DOE^J133", "", "133-002"), ward))
    take(event("A40", 9, pid("1"), "MRG|2^^^HOSP|||2^^^HOSP|||DOE^J133"))
    messages = {one.field("MSH", 9).split("^")[1]: one for one in told()}
    assert list(messages) == ["A06", "A03", "A40"]
    for one in messages.values():
        assert (one.field("MSH", 11), one.field("MSH", 12)) == ("P", version)
        moment = one.field("EVN", 2)
        assert moment.isdigit() if version == "2.3.1" else moment[:14].isdigit()
        assert one.field("PID", 3).split("^")[3] == "HOSP"
        assert all(one.field("PID", position) for position in (5, 18))
        parse_message("\r".join(one.lines), validation_level=2, find_groups=True)
    assert (messages["A03"].field("PV1", 2), messages["A03"].field("PV1", 3)) == ("I", "4E^401^A")
    assert messages["A03"].field("PV1", 7).split("^")[:3] == ["1234", "WEAVER", "TIMOTHY"]
    assert messages["A06"].field("PV1", 8).split("^")[:3] == ["5101", "NELL", "FREDERICK"]
    assert messages["A40"].field("PID", 3) == "1^^^HOSP^MR"
    assert messages["A40"].field("MRG", 1) == "2^^^HOSP^MR"
    assert messages["A40"].field("MRG", 4) == ("2^^^HOSP" if version == "2.3.1" else "")
    assert (messages["A40"].field("MRG", 7), messages["A40"].field("PID", 18)) == ("DOE^J133", "133-001")
    assert not messages["A40"].all("PV1")
