"""What a placer and an image manager hear of orders beyond the plain course (RAD-3, RAD-4, RAD-13)."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hl7apy.validation import Validator

from interfaces import engine
from interfaces.hl7 import receiver
from interfaces.models import Case, OutboundMessage
from interfaces.states import OutboundState
from interfaces.telling.numbering import ask_again
from ris.events.outbox import relay_all
from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step
from ris.orders.actions import change_procedure, request_again
from ris.orders.models import Order
from scheduling import actions as scheduling
from scheduling.models import ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.hl7.orders import mapped
from tests.interfaces.hl7.test_telling import check, gist, make_exam_of, partner, placed, told
from tests.makers import (
    make_appointment,
    make_exam,
    make_order,
    make_patient,
    make_procedure_type,
    make_report,
    next_hour,
)
from tests.peers.emr import Entry

pytestmark = pytest.mark.django_db


def born_here() -> Order:
    return placed(placer_order_number="", placer_authority="", placer_group_number="", source="")


def accepted(message: OutboundMessage, ago: int = 0) -> None:
    """The partner has taken it `ago` seconds ago."""
    OutboundMessage.objects.filter(pk=message.pk).update(status=OutboundState.SENT)
    engine.mark_accepted(message, code="AA", answer=b"")
    then = timezone.now() - timedelta(seconds=ago)
    OutboundMessage.objects.filter(pk=message.pk).update(answered_at=then)


def test_an_order_born_here_is_sent_to_be_numbered() -> None:
    """FIL-01, ORA-1: SN with our number alone."""
    partner("emr", "orders", profile={"filler_orders": "yes", "order_only": "emr_in", "procedures": "no"})
    partner("pacs", "orders")
    order = born_here()
    make_order()  # of nobody's, but this EMR numbers whatever is born here
    placed(placer_order_number="X1", source="other")
    (message, _) = told()
    assert gist([message]) == ["SN/"]
    check(message, "ordfil/orm_o01_format.ini")
    assert (message.field("ORC", 2), message.field("OBR", 2)) == ("", "")
    assert message.field("ORC", 3) == message.field("OBR", 3) == f"{order.accession_number}^LIGHTBOX"
    assert message.field("PID", 18) == "131-001"
    assert told("pacs") == []


def test_the_answer_on_the_same_line_brings_the_number() -> None:
    """FIL-02, ORA-4: ORR^O02 with NA; later messages carry it (FIL-10)."""
    emr = partner("emr", "orders", profile={"filler_orders": "yes"})
    order = born_here()
    (asked,) = told()
    raw = (
        f"MSH|^~\\&|EPIC|NORTH|LIGHTBOX|HARBOUR|20260301||ORR^O02|R1|P|2.3.1\rMSA|AA|{asked.control_id}\r"
        f"ORC|NA|P77^EPIC^1.2.3^ISO|{order.accession_number}^LIGHTBOX\r"
    )
    receiver.take_reply(raw.encode(), emr)
    receiver.recover()
    order.refresh_from_db()
    assert (order.placer_order_number, order.placer_authority) == ("P77", "EPIC^1.2.3^ISO")
    make_appointment(order)
    assert {message.field("ORC", 2) for message in told()[1:]} == {"P77^EPIC^1.2.3^ISO"}


def test_an_order_that_is_not_numbered_in_time_is_asked_for_again_and_shown() -> None:
    """FIL-03."""
    partner("emr", "orders", profile={"filler_orders": "yes", "number_seconds": "60", "procedures": "no"})
    late, fresh, gone = born_here(), born_here(), born_here()
    told()
    for order, ago in ((late, 61), (fresh, 30), (gone, 61)):
        accepted(OutboundMessage.objects.get(accession_number=order.accession_number), ago)
    scheduling.cancel_order(gone, reason="Declined", by=person("clara"))
    for expected in (1, 0):
        assert ask_again(at=timezone.now()) == expected
    again = OutboundMessage.objects.filter(accession_number=late.accession_number)
    assert [bytes(one.raw).split(b"\rORC|")[1][:3] for one in again] == [b"SN|", b"SN|"]
    case = Case.objects.get()
    assert (case.kind, case.key, case.status) == (
        "no_placer_number",
        f"placer:{late.accession_number}",
        "open",
    )
    from ris.orders.actions import assign_placer_number

    assign_placer_number(late, "P1", "EPIC", source="emr", by=person("epic"))
    relay_all()
    case.refresh_from_db()
    assert case.status == "solved"


def test_radiology_cancels_with_oc_where_the_placer_wants_it() -> None:
    """FIL-04, ORA-2; what the placer itself cancelled stays a status."""
    partner("emr", "orders", profile={"cancels": "oc", "procedures": "no"})
    here, there = placed(), placed(placer_order_number="B")
    scheduling.cancel_order(here, reason="Wrong exam", by=person("clara"))
    scheduling.cancel_order(there, reason="Withdrawn", by=person("epic"))
    messages = told()
    assert gist(messages) == ["OC/CA", "SC/CA"]
    assert (messages[0].field("ORC", 2), messages[0].field("ORC", 16)) == ("A131Z^MESA_ORDPLC", "^Wrong exam")
    assert messages[0].field("PID", 18)
    assert messages[0].field("PV1", 2)


def test_radiology_changes_the_ordered_procedure() -> None:
    """SCN-06, FIL-09, PRO-07: OC old, RAD-13 CA, SN new, RAD-4 new; the worklist changes at once."""
    partner("emr", "orders", profile={"filler_orders": "yes", "procedures": "no", "order_only": "ordering"})
    partner("pacs", "orders", profile={"statuses": "no"})
    order = placed()
    make_appointment(order, start=next_hour(2))
    told()
    contrast = make_procedure_type("CTHEADC", name="CT head with contrast")
    new = scheduling.replace_order(order, request_again(order, contrast), by=person("clara"))
    emr, pacs = told("emr"), told("pacs")
    assert gist(emr) == ["SC/SC", "OC/CA", "SN/", "SC/SC"]
    assert gist(pacs) == ["ZDS NW/SC", "ZDS CA/CA", "ZDS NW/SC"]
    assert pacs[1].field("ZDS", 1) == pacs[0].field("ZDS", 1) != pacs[2].field("ZDS", 1)
    assert pacs[2].field("OBR", 4).startswith("CTHEADC^")
    steps = ScheduledProcedureStep.objects.filter(status="scheduled")
    assert [step.procedure.order for step in steps] == [new]


def test_another_exam_done_than_scheduled_is_told_with_its_code() -> None:
    """PRO-08, SCN-11: RAD-13 XO with the code of what was done; ORC-1 XX to the placer (FIL-09)."""
    partner()
    exam = make_exam(make_appointment(placed()).order)
    contrast = make_procedure_type("CTHEADC", name="CT head with contrast")
    change_procedure(exam.procedure, contrast, by=person("theo"))
    messages = told()
    assert gist(messages) == ["ZDS NW/SC", "SC/SC", "SC/IP", "ZDS XO/SC", "XX/IP"]
    assert messages[3].field("OBR", 44) == "CTHEADC^CT head with contrast^L"
    assert messages[3].field("OBR", 4).startswith("CTHEADC^CT head with contrast^L^")
    assert messages[3].field("ZDS", 1) == messages[0].field("ZDS", 1)
    assert messages[4].field("OBR", 4) == "CTHEADC^CT head with contrast^L"


def test_a_partner_may_hear_more_than_the_table_has_codes_for() -> None:
    """FIL-08: arrived, begun, ended, dictated, prelim, final in ORC-25 and OBR-25, mapped by the code map."""
    emr = partner("emr", "orders", hl7_version="2.5.1", profile={"statuses": "more", "procedures": "no"})
    mapped(emr, "status", AR="arrived", SCHED="SC")
    order = placed()
    appointment = make_appointment(order)
    scheduling.check_in(appointment, by=person("clara"))
    make_report(make_exam(order, completed=True), signed=True)
    rows = [(one.field("ORC", 5), one.field("ORC", 25), one.field("OBR", 25)) for one in told()]
    assert rows == [
        ("SCHED", "", ""), ("AR", "^ARRIVED", "S"), ("IP", "", ""), ("IP", "^BEGUN", "I"),
        ("IP", "^ENDED", "I"), ("CM", "", ""), ("CM", "^DICTATED", "R"), ("CM", "^FINAL", "F"),
    ]  # fmt: skip


def valid(message: Entry) -> None:
    """hl7apy finds nothing that its grammar of the version does not have."""
    parsed = parse_message(message.raw.decode(), find_groups=True, validation_level=VALIDATION_LEVEL.TOLERANT)
    assert Validator.validate(parsed)


def test_an_image_manager_of_2_5_1_gets_omi_with_ipc() -> None:
    """SCH-01, SCH-02, SCH-03, SCH-04, SCH-05, SCH-06, SCH-08, SCH-09, SCH-10, SCH-11, SCH-12, SCH-13, SCH-14,
    SCH-15, SCH-16, SCH-17, SCH-18, SCH-19, SCH-21, SCH-22, SCH-23, SCH-24, SCH-25, SCH-26, SCH-29 as OMI^O23;
    PRO-02, PRO-03, PRO-11."""
    partner("pacs", "orders", profile={"procedures": "omi", "statuses": "no"})
    secret = make_patient("Secret", restricted=True)
    order = placed(patient=secret, callback_phone="555", weight_kg="71.5", height_m="1.80", transport_arranged="A",
                   diagnoses=({"code": "R51", "text": "Headache", "scheme": "I10"},))  # fmt: skip
    appointment = make_appointment(order, start=next_hour())
    scheduling.cancel_order(order, reason="Declined", by=person("clara"))
    message, taken_back = told("pacs")
    valid(message)
    procedure, step = order.procedures.get(), appointment.steps.get()
    assert (message.field("MSH", 9), message.field("MSH", 12)) == ("OMI^O23^OMI_O23", "2.5.1")
    assert (message.field("ORC", 1), message.field("ORC", 5), message.field("ORC", 7)) == ("NW", "SC", "")
    assert message.field("ORC", 2) == message.field("OBR", 2) == "A131Z^MESA_ORDPLC"
    assert message.field("ORC", 3) == message.field("OBR", 3)
    assert re.fullmatch(r"\d{14}[+-]\d{4}", message.field("TQ1", 7))
    assert message.field("TQ1", 9) == "S"
    assert message.field("ORC", 12) == message.field("OBR", 16)
    assert (message.field("ORC", 10), message.field("ORC", 14)) == ("clara^Clerk^Clara", "555")
    assert message.field("ORC", 28) == "R^Restricted^HL70177"
    assert message.field("OBR", 13) == "fell \\F\\ off \\S\\ a \\R\\ ladder \\T\\ more"
    assert message.field("ORC", 17) == "922229-10^IHE-RAD^IHE-CODE-231"
    assert [message.field("OBR", n) for n in (4, 12, 30, 41, 44)] == [
        "CTHEAD^CT head^L", "MRSA", "WALK", "A", "CTHEAD^CT head^L",
    ]  # fmt: skip
    assert message.field("OBR", 31) == "^Right upper quadrant pain~R51^Headache^I10"
    assert [(row[3], row[5], row[6]) for row in message.all("OBX")] == [
        ("29463-7^Body weight^LN", "71.5", "kg^^UCUM"), ("8302-2^Body height^LN", "1.80", "m^^UCUM"),
    ]  # fmt: skip
    assert message.all("IPC")[0][1:] == [
        f"{order.accession_number}^LIGHTBOX", procedure.requested_procedure_id,
        f"{procedure.study_instance_uid}^^^ISO", step.step_id, "CT", "CTHEAD^CT head^L", "CT 1",
        "^Harbour Imaging", "CT1",
    ]  # fmt: skip
    assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", procedure.study_instance_uid)
    assert len(procedure.study_instance_uid) <= 64
    assert (taken_back.field("ORC", 1), taken_back.field("ORC", 5)) == ("CA", "CA")
    assert taken_back.field("IPC", 3) == message.field("IPC", 3)


@pytest.mark.parametrize("form", ["yes", "omi"])
def test_several_steps_share_study_and_procedure(form: str) -> None:
    """PRO-01: ORC/OBR pairs with one ZDS at the end, or several IPC under one OBR."""
    partner("pacs", "orders", profile={"procedures": form, "statuses": "no", "stations": "repeat"})
    order = placed()
    appointment = make_appointment(order)
    first = appointment.steps.get()
    for number in (2, 3):
        ScheduledProcedureStep.objects.create(
            appointment=appointment, procedure=first.procedure, step_id=f"S-{number}", modality="CT",
            station_ae_titles=["CT1", "CT2"], starts_at=first.starts_at, protocol_code=f"P{number}",
        )  # fmt: skip
    (message,) = told("pacs")
    steps = [first.step_id, "S-2", "S-3"]
    if form == "yes":
        assert [line[:3] for line in message.lines if line][3:] == ["ORC", "OBR"] * 3 + ["ZDS"]
        assert [row[20] for row in message.all("OBR")] == steps
        assert len({(row[18], row[19]) for row in message.all("OBR")}) == 1
    else:
        assert [line[:3] for line in message.lines if line][3:] == ["ORC", "TQ1", "OBR", "IPC", "IPC", "IPC"]
        assert [row[4] for row in message.all("IPC")] == steps
        assert len({tuple(row[1:4]) for row in message.all("IPC")}) == 1
        assert message.all("IPC")[1][9] == "CT1~CT2"


def test_a_step_of_several_machines_has_an_ipc_for_each() -> None:
    """SCH-26."""
    partner("pacs", "orders", profile={"procedures": "omi", "statuses": "no"})
    appointment = make_appointment(placed())
    appointment.steps.update(station_ae_titles=["CT1", "CT2"])
    (message,) = told("pacs")
    assert [row[9] for row in message.all("IPC")] == ["CT1", "CT2"]


def test_a_placer_of_2_5_1_may_hear_of_orders_as_omg() -> None:
    """FIL-01, FIL-05 as OMG^O19: time and urgency in TQ1."""
    partner("emr", "orders", hl7_version="2.5.1",
            profile={"orders_as": "omg", "filler_orders": "yes", "procedures": "no"})  # fmt: skip
    make_appointment(born_here())
    new, planned = told()
    for message in (new, planned):
        valid(message)
        assert message.field("MSH", 9) == "OMG^O19^OMG_O19"
        assert (message.field("ORC", 7), message.field("OBR", 27), message.field("TQ1", 9)) == ("", "", "S")
    assert planned.field("TQ1", 7) == planned.field("OBR", 36) != ""


@pytest.mark.parametrize(("form", "place"), [("yes", ("ZDS", 1)), ("omi", ("IPC", 3))])
def test_images_first_keep_the_study_their_modality_made(form: str, place: tuple[str, int]) -> None:
    """PRO-05, SCN-05: an exam that nobody planned is announced with the Study UID of the images."""
    partner("pacs", "orders", profile={"procedures": form, "statuses": "no"})
    order = placed()
    made = ScheduledReference("1.2.826.9", accession_number=order.accession_number)
    new = NewPerformedStep("1.2.3.4", "CT1", "CT", timezone.now(), (made,), patient_id=order.patient.mrn)
    begin_performed_step(new, by=person("theo"))
    (message,) = told("pacs")
    assert (message.field("ORC", 1), message.field("ORC", 5)) == ("NW", "SC")
    assert message.field(*place).split("^")[0] == "1.2.826.9"


def test_a_partner_hears_its_own_words() -> None:
    """FIX-9 and the other code maps, on the way out."""
    emr = partner("emr", "orders")
    mapped(emr, "exam", E1="CTHEAD")
    mapped(emr, "modality", CAT="CT")
    mapped(emr, "priority", NOW="stat")
    mapped(emr, "sex", W="F")
    mapped(emr, "patient_class", ER="E")
    mapped(emr, "provider", **{"7": "LINDGREN"})
    mapped(emr, "department", RAD="HARBOUR")
    make_appointment(placed(entered_at_organization=""))
    message = told()[0]
    assert message.field("OBR", 4).startswith("E1^CT head^L^")
    assert (message.field("OBR", 24), message.field("ORC", 7).split("^")[5]) == ("CAT", "NOW")
    assert (message.field("PID", 8), message.field("PV1", 2)) == ("W", "ER")
    assert (message.field("ORC", 12).split("^")[0], message.field("ORC", 17)) == (
        "7",
        "RAD^Harbour Imaging^L",
    )


def test_a_refused_procedure_holds_back_its_own_order_alone() -> None:
    """PRO-09: AE from the image manager parks the message; the next of the order waits, others go on."""
    pacs = partner("pacs", "orders", profile={"statuses": "no"})
    first, other = placed(), placed(placer_order_number="B")
    make_exam_of(first)
    make_appointment(other, start=next_hour(5))
    told("pacs")
    refused = OutboundMessage.objects.earliest("pk")
    OutboundMessage.objects.filter(pk=refused.pk).update(status=OutboundState.SENT)
    engine.mark_refused(refused, code="AE", answer=b"", text="no", retry_in=None)
    due = engine.next_due(pacs.pk, at=timezone.now())
    assert due is not None
    assert due.accession_number == other.accession_number
