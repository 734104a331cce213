"""Appointments over HL7: what an order placer hears (RAD-48), and what an enterprise scheduler may say."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hl7apy.parser import parse_message

from interfaces.actions import configure_endpoint
from interfaces.hl7 import receiver
from interfaces.hl7.mllp import Frame
from interfaces.models import Case, CaseKind, CodeMap, CodeTable, Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.core.errors import BadValue
from ris.department.models import Laterality, Station
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.orders.actions import set_side
from ris.orders.models import Order, RequestedProcedure
from scheduling import actions as scheduling
from scheduling.models import Appointment, Opening
from tests.cast import person
from tests.interfaces.hl7.samples import DATA, msh
from tests.makers import (
    make_appointment,
    make_exam,
    make_facility,
    make_order,
    make_patient,
    make_procedure_type,
    make_room,
    next_hour,
)
from tests.peers.emr import Ack, Entry

pytestmark = pytest.mark.django_db


def partner(name: str = "placer", **values: Any) -> Endpoint:
    make_facility()
    given = {
        "protocol": "mllp",
        "direction": "out",
        "address": "127.0.0.1:1",
        "facts": ["schedule"],
        **values,
    }
    return configure_endpoint(name, given, by=system_user("shell"))


def told(name: str = "placer") -> list[Entry]:
    relay_all()
    rows = OutboundMessage.objects.filter(endpoint__name=name).order_by("pk")
    return [Entry(one.control_id, one.type, bytes(one.raw).decode("latin-1"), "", 0, 0) for one in rows]


def gist(entries: list[Entry]) -> list[tuple[str, str, str]]:
    """Event, SCH-25 and RGS-2, which AIS-2 and AIS-10 repeat."""
    for one in entries:
        assert one.field("MSH", 9) == f"{one.type}^SIU_S12"
        assert {one.field("RGS", 2), one.field("AIL", 2)} == {one.field("AIS", 2)}
        assert one.field("SCH", 25) == one.field("AIS", 10) == one.field("AIL", 12)
    return [(one.type[4:], one.field("SCH", 25), one.field("RGS", 2)) for one in entries]


def asked_for(**fields: Any) -> Order:
    values = {"placer_order_number": "A152Z", "placer_authority": "MESA_ORDPLC", "source": "orders", **fields}
    return make_order(**values)


def local(moment: datetime) -> str:
    return moment.astimezone(next_hour().tzinfo).strftime("%Y%m%d%H%M%S")


# Out


def test_each_change_of_an_appointment_is_told_once_with_its_event_status_and_action() -> None:
    """APT-01, APT-03, APT-05, APT-06, SCN-12: S12 A, S13 U, S14 U, S15 D, S26, and S12 for what is booked again."""
    partner()
    mona, order = person("mona"), asked_for()
    appointment = make_appointment(order, start=next_hour())
    scheduling.reschedule(appointment, room=make_room(), start=next_hour(4), by=mona)
    scheduling.change_appointment(appointment, note="Bring old films", by=mona)
    scheduling.change_appointment(appointment, note="Bring old films", by=mona)  # nothing new
    scheduling.check_in(appointment, by=mona)
    scheduling.undo_check_in(appointment, by=mona)
    scheduling.cancel_appointment(appointment, reason="Patient is ill", by=mona)
    relay_all()
    scheduling.restore_appointment(appointment, by=mona)
    scheduling.mark_no_show(appointment, by=mona, at=timezone.now() + timedelta(hours=9))
    messages = told()
    assert gist(messages) == [
        ("S12", "Booked", "A"), ("S13", "Booked", "U"), ("S14", "Booked", "U"), ("S15", "Cancelled", "D"),
        ("S12", "Booked", "A"), ("S26", "Noshow", "U"),
    ]  # fmt: skip
    assert {one.field("SCH", 2) for one in messages} == {f"{appointment.pk}^LIGHTBOX"}
    assert [one.field("SCH", 6) for one in messages][3:] == [
        "^Patient is ill", "^Booked", "^Patient did not come",
    ]  # fmt: skip
    assert messages[1].field("SCH", 11).split("^")[3] == local(next_hour(4))
    assert messages[2].field("NTE", 3) == "Bring old films"


def test_a_withdrawn_order_takes_back_the_appointment_that_was_told_and_no_other() -> None:
    """APT-01, SCN-16."""
    partner()
    for start, booked, first_cancelled in ((1, True, False), (3, True, True), (5, False, False)):
        order = make_order(make_patient())
        if booked:
            appointment = make_appointment(order, start=next_hour(start))
            if first_cancelled:
                scheduling.cancel_appointment(appointment, reason="Ill", by=person("mona"))
        scheduling.cancel_order(order, reason="Not needed", by=person("clara"))
    assert [event for event, _, _ in gist(told())] == ["S12", "S15", "S12", "S15"]


def test_an_appointment_names_patient_order_service_room_machine_and_preparation() -> None:
    """APT-02, APT-03, APT-04: and another parser finds nothing against it."""
    partner()
    kind = make_procedure_type(
        "CTLEG", name="CT leg", prep="Fast for 4 hours.\nDrink water.", duration_minutes=45
    )
    order = asked_for(procedure_type=kind, priority="stat")
    start = next_hour(2)
    appointment = scheduling.book(
        order, room=make_room(), start=start, note="Needs a lift", by=person("clara")
    )
    (message,) = told()
    until = local(start + timedelta(minutes=45))
    for name, position, value in (
        ("MSH", 12, "2.4"),
        ("SCH", 2, f"{appointment.pk}^LIGHTBOX"),
        ("SCH", 4, "CT1"),
        ("SCH", 6, "^Booked"),
        ("SCH", 7, "EMERGENCY^Urgent^HL70276"),
        ("SCH", 9, "45"),
        ("SCH", 11, f"1^^M45^{local(start)}^{until}^S"),
        ("SCH", 16, "clara^Clerk^Clara"),
        ("SCH", 20, "clara^Clerk^Clara"),
        ("SCH", 26, "A152Z^MESA_ORDPLC"),
        ("SCH", 27, f"{order.accession_number}^LIGHTBOX"),
        ("PID", 3, f"{order.patient.mrn}^^^HARBOUR^MR"),
        ("PV1", 2, "O"),
        ("AIS", 3, "CTLEG^CT leg^L^CTLEG^CT leg^L"),
        ("AIS", 4, local(start)),
        ("AIS", 7, "45"),
        ("AIG", 3, "CT1^CT1"),
        ("AIG", 4, "CT^CT^DCM"),
        ("AIL", 3, "^CT1^^HARBOUR"),
        ("AIL", 9, "45"),
    ):
        assert message.field(name, position) == value, f"{name}-{position}"
    assert [row[3] for row in message.all("NTE")] == ["Needs a lift", "Fast for 4 hours.\\.br\\Drink water."]
    assert [line[:3] for line in message.lines if line] == [
        "MSH", "SCH", "NTE", "PID", "PV1", "RGS", "AIS", "NTE", "AIG", "AIL",
    ]  # fmt: skip
    assert parse_message(message.raw.decode()).validate()


@pytest.mark.parametrize(("version", "chosen", "sent"), [
    ("2.3.1", "", "2.4"), ("2.3.1", "2.3.1", "2.3.1"), ("2.4", "2.5", "2.4"), ("2.5.1", "", "2.5.1"),
])  # fmt: skip
def test_appointments_go_out_as_2_4_to_partners_of_an_older_version(
    version: str, chosen: str, sent: str
) -> None:
    """APT-01: the rest of such a partner's messages keep their version."""
    partner(hl7_version=version, profile={"schedule_version": chosen} if chosen else {})
    make_appointment(asked_for())
    (message,) = told()
    assert message.field("MSH", 12) == sent
    assert message.field("MSH", 9) == ("SIU^S12" if sent == "2.3.1" else "SIU^S12^SIU_S12")
    assert bool(message.all("TQ1")) == (sent >= "2.5")
    # 2.3.1 has no SCH-26 and 27; without them nobody could tell whose appointment it is.
    assert sent == "2.3.1" or parse_message(message.raw.decode()).validate()


def test_an_appointment_of_several_procedures_has_a_group_for_each() -> None:
    """APT-07: each service with its own machine and room."""
    partner()
    order = asked_for()
    second = make_procedure_type("CTNECK", name="CT neck")
    RequestedProcedure.objects.create(
        order=order, number=2, procedure_type=second, code="CTNECK", code_text="CT neck", code_scheme="L",
        study_instance_uid="2.25.77", requested_procedure_id="R77",
    )  # fmt: skip
    make_appointment(order)
    (message,) = told()
    assert [row[1] for row in message.all("RGS")] == ["1", "2"]
    assert [row[3].split("^")[0] for row in message.all("AIS")] == ["CTHEAD", "CTNECK"]
    assert len(message.all("AIL")) == len(message.all("AIG")) == 2
    assert len(message.all("SCH")) == 1
    assert parse_message(message.raw.decode()).validate()


def test_arrival_and_end_are_told_only_to_those_who_ask() -> None:
    """APT-05: Started when the patient has come, Complete when the exam is."""
    partner()
    partner("curious", profile={"arrivals": "yes"})
    order = asked_for()
    appointment = make_appointment(order)
    scheduling.check_in(appointment, by=person("clara"))
    exam = make_exam(order)
    exams.complete_exam(exam, by=person("theo"))
    assert [event for event, _, _ in gist(told())] == ["S12"]
    heard = told("curious")
    assert gist(heard) == [("S12", "Booked", "A"), ("S14", "Started", "U"), ("S14", "Complete", "U")]
    assert heard[-1].field("AIP", 3) == "theo^Technologist^Theo"


def test_a_changed_side_is_told_with_the_appointment_and_a_changed_reason_is_not() -> None:
    """APT-01: S14 for what stands in the message."""
    from ris.orders.actions import change_order

    partner()
    kind = make_procedure_type("CTHAND", name="CT hand", laterality=Laterality.OPTIONAL)
    order = asked_for(procedure_type=kind)
    make_appointment(order)
    change_order(order, {"reason": "Fall"}, by=person("clara"))
    set_side(order.procedures.get(), "L", by=person("clara"))
    assert [event for event, _, _ in gist(told())] == ["S12", "S14"]


def test_blocked_times_are_told_to_those_who_plan_for_us() -> None:
    """APT-06: S23 and S24, of a room and no patient."""
    partner()
    partner("planner", profile={"blocks": "yes"})
    room, mona = make_room(), person("mona")
    start, end = next_hour(2), next_hour(4)
    block = scheduling.block_room(room, start=start, end=end, reason="Service", by=mona)
    scheduling.unblock_room(block, by=mona)
    assert told() == []
    blocked, freed = told("planner")
    assert [one.field("MSH", 9) for one in (blocked, freed)] == ["SIU^S23^SIU_S12", "SIU^S24^SIU_S12"]
    assert (blocked.field("SCH", 25), freed.field("SCH", 25)) == ("Blocked", "Deleted")
    assert blocked.field("SCH", 2) == freed.field("SCH", 2)
    assert blocked.field("SCH", 6) == "^Service"
    assert freed.field("SCH", 11) == f"1^^M120^{local(start)}^{local(end)}"
    assert [blocked.field("AIL", position) for position in (3, 6, 9)] == [
        "^CT1^^HARBOUR",
        local(start),
        "120",
    ]
    assert parse_message(blocked.raw.decode()).validate()


# In


@pytest.fixture
def scheduler() -> Endpoint:
    make_facility()
    make_room()
    values = {"protocol": "mllp", "direction": "in", "match_application": "CADENCE"}
    return configure_endpoint("cadence", values, by=system_user("shell"))


def siu(
    event: str, start: datetime | None = None, *, sch1: str = "S1^CADENCE", sch2: str = "", placer: str = "A152Z^MESA_ORDPLC",
    filler: str = "", room: str = "CT1", minutes: str = "", reason: str = "", rest: tuple[str, ...] = (),
) -> str:  # fmt: skip
    when = local(start) if start else ""
    sch = (
        f"SCH|{sch1}|{sch2}||||^{reason or event}|||{minutes}|MIN|^^^{when}|||||15101^CLERK^SAM||||^ROSE|||||"
    )
    lines = [msh(f"SIU^{event}", app="CADENCE", version="2.4"), f"{sch}Booked|{placer}|{filler}", *rest]
    return "\r".join(
        [*lines, "RGS|1|A", "AIS|1|A|CTHEAD^CT head^L", f"AIL|1|A|RAD^{room}" if room else "", ""]
    )


def take(message: str) -> Ack:
    (answer,) = receiver.receive(Frame(message.encode()), "10.0.0.9")
    return Ack(answer)


def live(order: Order) -> Appointment:
    return order.appointments.get(status__in=["booked", "confirmed", "arrived"])


def test_an_enterprise_scheduler_books_moves_and_cancels_our_orders(scheduler: Endpoint) -> None:
    """APT-08: S12, S13, S14 and S15 through the ordinary verbs; image managers and placers hear by theirs."""
    partner()
    partner("pacs", facts=["orders"], profile={"statuses": "no"})
    partner("cadence-out", profile={"no_echo": "cadence"})
    order = asked_for()
    assert take(siu("S12", next_hour(2), minutes="45")).code == "AA"
    appointment = live(order)
    assert (appointment.starts_at, appointment.room.code) == (next_hour(2), "CT1")
    assert appointment.ends_at - appointment.starts_at == timedelta(minutes=45)
    assert (appointment.source, appointment.placer_number) == ("cadence", "S1^CADENCE")
    assert take(siu("S12", next_hour(2))).code == "AA"  # told again: one booking
    make_room("CT2")
    note = ("NTE|1||Wheelchair",)
    assert take(siu("S13", next_hour(5), room="CT2", placer="", rest=note)).code == "AA"
    assert (live(order).starts_at, live(order).room.code, live(order).note) == (
        next_hour(5),
        "CT2",
        "Wheelchair",
    )
    assert take(siu("S14", placer="", room="", rest=("NTE|1||Stretcher",))).code == "AA"
    assert (live(order).starts_at, live(order).note) == (next_hour(5), "Stretcher")
    assert take(siu("S15", reason="Bed not free")).code == "AA"
    assert take(siu("S15")).code == "AA"
    appointment.refresh_from_db()
    assert (appointment.status, appointment.cancel_reason) == ("cancelled", "Bed not free")
    order.refresh_from_db()
    assert order.status == "requested"
    assert [event for event, _, _ in gist(told())] == ["S12", "S13", "S14", "S14", "S15"]
    assert [one.field("ORC", 1) for one in told("pacs")] == ["NW", "XO"]
    assert told("cadence-out") == []


def test_what_the_desk_does_with_a_schedulers_appointment_goes_back_under_its_number(
    scheduler: Endpoint,
) -> None:
    """APT-08: no echo of its own news, but ours as changes of what it has."""
    partner("cadence-out", profile={"no_echo": "cadence"})
    order = asked_for()
    take(siu("S12", next_hour(2), sch2="F9^CADENCE"))
    scheduling.reschedule(live(order), room=make_room(), start=next_hour(6), by=person("mona"))
    (message,) = told("cadence-out")
    assert (message.type, message.field("SCH", 1)) == ("SIU^S13", "S1^CADENCE")
    # It answers by its other number, and by ours.
    assert take(siu("S13", next_hour(7), sch1="", sch2="F9^CADENCE", placer="")).code == "AA"
    ours = f"{live(order).pk}^LIGHTBOX"
    assert take(siu("S15", sch1="", sch2=ours, placer="")).code == "AA"
    assert not order.appointments.exclude(status="cancelled").exists()


@pytest.mark.parametrize(
    ("event", "status"), [("S16", "cancelled"), ("S17", "cancelled"), ("S26", "no_show")]
)
def test_other_ends_of_an_appointment(scheduler: Endpoint, event: str, status: str) -> None:
    """APT-08: discontinued, deleted, patient did not show up."""
    order = asked_for()
    appointment = make_appointment(order, start=next_hour(-3))
    assert [take(siu(event)).code for _ in range(2)] == ["AA", "AA"]
    appointment.refresh_from_db()
    assert appointment.status == status


def test_a_refused_booking_leaves_nothing_behind_and_says_why(scheduler: Endpoint) -> None:
    """APT-08: unknown order or appointment 204, no room 103, taken or too late 207, the wrong patient 102."""
    order = asked_for()
    other = make_order(make_patient("Other"))
    make_appointment(other, start=next_hour(2))
    stranger = make_patient("Stranger", mrn="555")
    Station.objects.filter(ae_title="CT1").update(ae_title="CT1A")
    for message, error, location in (
        (siu("S12", next_hour(2), placer="Z9^NOBODY"), "204", "SCH-26"),
        (siu("S12", next_hour(2), placer="", filler="A99"), "204", "SCH-27"),
        (siu("S12", next_hour(2), placer=""), "101", "SCH-26"),
        (siu("S12"), "101", "SCH-11"),
        (siu("S13", next_hour(2), placer=""), "204", "SCH-1"),
        (siu("S15", sch1="X1", placer=""), "204", "SCH-1"),
        (siu("S13", next_hour(3)), "204", "SCH-1"),
        (siu("S12", next_hour(2)), "207", "SCH-11"),
        (siu("S12", next_hour(4), room="THEATRE"), "103", "AIL-3"),
        (siu("S12", next_hour(-90)), "102", "SCH-11"),
        (siu("S12", next_hour(4), minutes="600"), "102", "SCH-9"),
        (siu("S12", next_hour(4), rest=(f"PID|||{stranger.mrn}^^^HARBOUR||X",)), "102", "PID-3"),
    ):
        answer = take(message)
        assert (answer.code, answer.error, answer.location) == ("AE", error, location), answer.text
    assert "Somebody booked" in take(siu("S12", next_hour(2))).text
    assert not order.appointments.exists()
    order.refresh_from_db()
    assert order.status == "requested"
    assert take(siu("S12", next_hour(4))).code == "AA"
    assert take(siu("S12", next_hour(6))).error == "205"
    make_exam(order)
    assert [take(siu(event, next_hour(8))).error for event in ("S13", "S15", "S26")] == ["207"] * 3


def test_news_of_what_is_not_known_here_waits_for_a_person(scheduler: Endpoint) -> None:
    """APT-08: an unknown order and an unknown appointment are different cases; told again, each stays one."""
    asked_for()
    for message in (siu("S12", next_hour(2), placer="Z9^NOBODY"), siu("S15", sch1="X1", placer="")):
        assert take(message).error == "204"
        assert take(message.replace("|P|2.4", "|P|2.5")).error == "204"
    assert sorted(Case.objects.values_list("kind", "count")) == [
        (CaseKind.UNKNOWN_APPOINTMENT, 2), (CaseKind.UNKNOWN_ORDER, 2),
    ]  # fmt: skip


def test_a_taken_or_closed_time_is_shared_where_the_profile_says_so(scheduler: Endpoint) -> None:
    """APT-08: and told as Overbook; a free time is an ordinary booking, and a patient is in one place at a time."""
    partner()
    first, second = asked_for(), asked_for(placer_order_number="B7")
    make_appointment(make_order(make_patient()), start=next_hour(2))
    configure_endpoint("cadence", {"profile": {"siu_overbook": "yes"}}, by=system_user("shell"))
    assert take(siu("S12", next_hour(1))).code == "AA"
    relay_all()
    assert take(siu("S13", next_hour(2))).code == "AA"
    assert live(first).overbook_reason == "Booked by cadence"
    Opening.objects.all().delete()
    assert take(siu("S12", next_hour(5), sch1="S2", placer="B7^MESA_ORDPLC")).code == "AA"
    assert live(second).overbook_reason
    assert [row for row in gist(told()) if row[1] == "Overbook"] == [
        ("S13", "Overbook", "U"), ("S12", "Overbook", "A"),
    ]  # fmt: skip
    same_patient = make_order(first.patient, placer_order_number="C8", placer_authority="MESA_ORDPLC")
    refused = take(siu("S12", next_hour(2), sch1="S3", placer="C8^MESA_ORDPLC"))
    assert refused.error == "207"
    assert not same_patient.appointments.exists()


def test_a_machine_is_bound_by_opening_hours_unless_it_overbooks(scheduler: Endpoint) -> None:
    order = asked_for()
    Opening.objects.all().delete()
    with pytest.raises(BadValue):
        scheduling.book(order, room=make_room(), start=next_hour(2), by=scheduler.user)
    assert take(siu("S12", next_hour(2))).error == "102"


def test_the_room_may_be_named_in_the_schedulers_words_or_not_at_all(scheduler: Endpoint) -> None:
    """APT-08: by the endpoint's map, our code, the machine's AE title; without one any free room that can do it."""
    make_room("CT2")
    CodeMap.objects.create(endpoint=scheduler, table=CodeTable.DEPARTMENT, theirs="SCAN B", ours="CT2")
    for number, (words, found) in enumerate({"SCAN B": "CT2", "ct1": "CT1", "": "CT1"}.items()):
        order = asked_for(placer_order_number=f"R{number}", patient=make_patient())
        message = siu(
            "S12", next_hour(3 + 2 * number), sch1=f"R{number}", placer=f"R{number}^MESA_ORDPLC", room=words
        )
        assert take(message).code == "AA"
        assert live(order).room.code == found
    order = asked_for(placer_order_number="R9", patient=make_patient())
    # CT1 is taken at that hour.
    assert take(siu("S12", next_hour(7), sch1="R9", placer="R9^MESA_ORDPLC", room="")).code == "AA"
    assert live(order).room.code == "CT2"


def test_one_message_may_book_several_orders_or_none_of_them(scheduler: Endpoint) -> None:
    """APT-07, APT-08: each service belongs to the order at its place in SCH-26; one refusal takes all back."""
    patient = make_patient()
    orders = [asked_for(patient=patient, placer_order_number=number) for number in ("M1", "M2")]
    both = siu("S12", next_hour(2), placer="M1^MESA_ORDPLC~M2^MESA_ORDPLC")
    make_appointment(make_order(make_patient()), start=next_hour(2) + timedelta(minutes=30))
    assert take(both).error == "207"
    assert not Appointment.objects.filter(order__in=orders).exists()
    assert take(both.replace(local(next_hour(2)), local(next_hour(5)))).code == "AA"
    assert [live(one).starts_at for one in orders] == [next_hour(5), next_hour(5) + timedelta(minutes=30)]


@pytest.mark.skipif(not DATA.exists(), reason="no sample messages beside the repository")
def test_the_ihe_samples_of_appointments_are_read_and_ours_have_their_fields(scheduler: Endpoint) -> None:
    """SCN-12: 13 to 15 of the samples, their times brought to tomorrow; ours fill what they fill."""
    partner()
    configure_endpoint("cadence", {"match_application": ""}, by=system_user("shell"))
    order = asked_for()
    asked_for(placer_order_number="A153Z", patient=make_patient())
    samples = sorted((DATA / "hl7-samples").glob("1[345]-RAD-48-*"))
    booked, moved, cancelled = [path.read_bytes().decode() for path in samples]
    start = local(next_hour(3))
    assert take(booked.replace("200408010900", start)).code == "AA"
    later = local(next_hour(6))
    assert take(moved.replace("200408010900", later)).code == "AA"
    assert live(order).starts_at == next_hour(6)
    assert take(cancelled).error == "204"  # of an order that nobody has booked
    scheduling.cancel_appointment(live(order), reason="Ill", by=person("mona"))
    for ours, theirs in zip(told(), (booked, moved, cancelled), strict=True):
        sample = Entry("", "", theirs, "", 0, 0)
        assert ours.field("MSH", 9).startswith(sample.field("MSH", 9))
        for name in ("SCH", "RGS", "AIS"):
            for position, value in enumerate(sample.all(name)[0][1:], 1):
                # SCH-4 and 11 hold no schedule and no time in the sample.
                if value:
                    assert ours.field(name, position), f"{name}-{position}"
        assert ours.field("RGS", 2) == sample.field("RGS", 2)
        assert re.fullmatch(r"A152Z\^MESA_ORDPLC", ours.field("SCH", 26))
