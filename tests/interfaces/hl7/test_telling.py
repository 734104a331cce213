"""Which fact a partner hears as which message, and what stands in it."""

import base64
import json
import re
from typing import Any

import pytest
from hl7apy.parser import parse_message

from interfaces.actions import configure_endpoint
from interfaces.models import Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.audit.models import AuditEvent
from ris.events.models import Delivery
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.orders.actions import change_order
from ris.orders.models import Order
from ris.patients.actions import NewVisit, open_visit
from ris.reporting import actions as reporting
from ris.reporting.models import Report
from scheduling import actions as scheduling
from tests.cast import person
from tests.interfaces.hl7.samples import DATA
from tests.makers import (
    make_appointment,
    make_exam,
    make_facility,
    make_order,
    make_patient,
    make_practitioner,
    make_report,
    make_room,
    next_hour,
)
from tests.peers.emr import Entry

pytestmark = pytest.mark.django_db


def partner(name: str = "emr", facts: str = "orders,results", **values: Any) -> Endpoint:
    make_facility()
    given = {
        "protocol": "mllp", "direction": "out", "address": "127.0.0.1:1", "facts": list(filter(None, facts.split(","))),
        "receiving_application": "EPIC", "receiving_facility": "NORTH", **values,
    }  # fmt: skip
    return configure_endpoint(name, given, by=system_user("shell"))


def placed(**fields: Any) -> Order:
    """An order as the EMR places it, of a patient with a visit."""
    patient = fields.pop("patient", None) or make_patient(phone="5550001111", address="1 Main St, Salem")
    visit = open_visit(
        patient,
        NewVisit(
            number=f"V{patient.pk}", authority="ADT1", patient_class="E", location="1W^111^2^XYZ", account="131-001",
            referring=make_practitioner("Nell", identifier="5101"),
        ),
        by=person("clara"),
    )  # fmt: skip
    values = {
        "placer_order_number": "A131Z", "placer_authority": "MESA_ORDPLC", "placer_group_number": "G7",
        "visit": visit, "priority": "stat", "source": "ordering", "transport": "WALK", "danger_code": "MRSA",
        "clinical_info": "fell | off ^ a ~ ladder & more", "entered_at_organization": "922229-10^IHE-RAD^IHE-CODE-231",
        **fields,
    }  # fmt: skip
    return make_order(patient, **values)


def told(name: str = "emr") -> list[Entry]:
    """What the relay has queued for a partner, as the partner would see it."""
    relay_all()
    assert not Delivery.objects.filter(done_at=None).exists(), Delivery.objects.filter(done_at=None).first()
    return [
        Entry(one.control_id, one.type, bytes(one.raw).decode("latin-1"), "", 0, 0)
        for one in OutboundMessage.objects.filter(endpoint__name=name).order_by("pk")
    ]


def gist(entries: list[Entry]) -> list[str]:
    """Type, ORC-1 and ORC-5, or OBR-25 for a result; RAD-4 and RAD-13 carry a ZDS."""
    return [
        f"ORU {one.field('OBR', 25)}"
        if one.field("MSH", 9).startswith("ORU")
        else f"{'ZDS ' if one.all('ZDS') else ''}{one.field('ORC', 1)}/{one.field('ORC', 5)}"
        for one in entries
    ]


def test_an_order_is_told_from_booking_to_report_in_order() -> None:
    """FIL-05, FIL-06, PRO-03, SCN-07."""
    partner()
    report = make_report(make_exam_of(placed()), signed=True)
    assert gist(told()) == ["ZDS NW/SC", "SC/SC", "SC/IP", "ZDS XO/CM", "SC/CM", "ORU F"]
    assert report.status == "final"


def make_exam_of(order: Order) -> Any:
    make_appointment(order)
    return make_exam(order, completed=True)


def test_rad_4_says_what_the_image_manager_needs() -> None:
    """SCH-01, SCH-03, SCH-04, SCH-05, SCH-06, SCH-07, SCH-09, SCH-10, SCH-11, SCH-12, SCH-13, SCH-14, SCH-15,
    SCH-16, SCH-17, SCH-18, SCH-19, SCH-21, SCH-23, SCH-27, SCH-28, PRO-01, FIX-9, FIL-10."""
    partner()
    order = placed()
    make_appointment(order, start=next_hour())
    (message, *_) = told()
    step = order.procedures.get().steps.get()
    procedure = order.procedures.get()
    assert message.field("MSH", 12) == "2.3.1"
    assert [message.field("MSH", n) for n in (3, 5, 6, 9, 11)] == [
        "LIGHTBOX",
        "EPIC",
        "NORTH",
        "ORM^O01",
        "P",
    ]
    assert message.field("PID", 3) == f"{order.patient.mrn}^^^HARBOUR^MR"
    assert (message.field("PID", 5), message.field("PID", 7), message.field("PID", 8)) == (
        "Okafor^Adaeze", "19680714", "F",
    )  # fmt: skip
    assert (message.field("PID", 18), message.field("PV1", 2), message.field("PV1", 19)) == (
        "131-001", "E", f"V{order.patient_id}^^^ADT1",
    )  # fmt: skip
    assert (message.field("PV1", 3), message.field("PV1", 8)) == ("1W^111^2^XYZ", "5101^Nell^Maja^^^Dr")
    assert (message.field("ORC", 2), message.field("ORC", 4)) == ("A131Z^MESA_ORDPLC", "G7")
    assert message.field("ORC", 3) == message.field("OBR", 3) == f"{order.accession_number}^LIGHTBOX"
    assert message.field("OBR", 2) == "A131Z^MESA_ORDPLC"
    local = step.starts_at.astimezone(next_hour().tzinfo).strftime("%Y%m%d%H%M%S")
    assert message.field("ORC", 7) == message.field("OBR", 27) == f"1^once^^{local}^^S"
    assert re.fullmatch(r"\d{14}", message.field("ORC", 9))
    assert message.field("ORC", 12) == message.field("OBR", 16) == "LINDGREN^Lindgren^Maja^^^Dr"
    assert message.field("ORC", 17) == "922229-10^IHE-RAD^IHE-CODE-231"
    assert message.field("OBR", 4) == "CTHEAD^CT head^L^CTHEAD^CT head^L"
    assert message.field("OBR", 13) == "fell \\F\\ off \\S\\ a \\R\\ ladder \\T\\ more"
    assert (message.field("OBR", 12), message.field("OBR", 30)) == ("MRSA", "WALK")
    assert (message.field("OBR", 18), message.field("OBR", 19), message.field("OBR", 20)) == (
        order.accession_number, procedure.requested_procedure_id, step.step_id,
    )  # fmt: skip
    assert (message.field("OBR", 24), message.field("OBR", 44)) == ("CT", "CTHEAD^CT head^L")
    assert message.field("OBR", 31) == "^Right upper quadrant pain"
    assert message.field("ZDS", 1) == f"{procedure.study_instance_uid}^LIGHTBOX^Application^DICOM"
    assert message.lines[-2].startswith("ZDS")


def test_a_new_time_and_a_changed_reason_are_told_as_changes() -> None:
    """PRO-02, PRO-03, PRO-04, FIL-07."""
    partner()
    order = placed()
    appointment = make_appointment(order, start=next_hour())
    scheduling.reschedule(appointment, room=make_room(), start=next_hour(3), by=person("mona"))
    change_order(order, {"reason": "Fall"}, by=person("clara"))
    messages = told()
    assert gist(messages) == ["ZDS NW/SC", "SC/SC", "ZDS XO/SC", "SC/SC", "ZDS XO/SC"]
    assert messages[-1].field("OBR", 31) == "^Fall"
    moved = next_hour(3).strftime("%Y%m%d%H%M%S")
    assert messages[3].field("OBR", 36) == moved
    assert len({message.field("ZDS", 1) for message in messages if message.all("ZDS")}) == 1


def test_who_is_planned_to_perform_is_told_and_told_anew() -> None:
    """SCH-20: OBR-34, first component of the first repetition, in ORM and in OMI."""
    partner()
    partner("images", profile={"procedures": "omi"})
    appointment = make_appointment(placed())
    scheduling.assign_performer(appointment, make_practitioner("Curie", identifier="77"), by=person("clara"))
    scheduling.assign_performer(appointment, make_practitioner("Curie", identifier="77"), by=person("clara"))
    appointment.refresh_from_db()
    scheduling.change_appointment(appointment, note="Bring her glasses", by=person("clara"))
    scheduling.assign_performer(appointment, None, by=person("clara"))
    messages = told()
    assert gist(messages) == ["ZDS NW/SC", "SC/SC", "ZDS XO/SC", "ZDS XO/SC"]
    # The same fact was told before the next one was heard: what it says is the record as it now stands.
    assert [one.field("OBR", 34) for one in messages if one.all("ZDS")] == ["", "", ""]
    scheduling.assign_performer(appointment, make_practitioner("Curie", identifier="77"), by=person("clara"))
    assert told()[-1].field("OBR", 34) == "77&Curie&Maja&&&Dr"
    assert told("images")[-1].field("OBR", 34) == "77&Curie&Maja&&&Dr&&&HARBOUR"


def test_what_is_booked_again_is_no_new_procedure() -> None:
    partner()
    order = placed()
    appointment = make_appointment(order)
    scheduling.cancel_appointment(appointment, reason="Patient asked", by=person("clara"))
    order.refresh_from_db()
    make_appointment(order, start=next_hour(4))
    assert gist(told()) == ["ZDS NW/SC", "SC/SC", "ZDS XO/SC", "SC/SC"]


def test_a_cancelled_order_is_taken_back_from_those_who_knew_it() -> None:
    """PRO-03: CA/CA; FIL-05."""
    partner()
    known, unknown = placed(), placed(placer_order_number="B", patient=make_patient("Other", mrn="77"))
    make_appointment(known)
    for order in (known, unknown):
        scheduling.cancel_order(order, reason="No longer needed", by=person("clara"))
    messages = told()
    assert gist(messages) == ["ZDS NW/SC", "SC/SC", "ZDS CA/CA", "SC/CA", "SC/CA"]
    assert messages[2].field("OBR", 20) == messages[0].field("OBR", 20)
    assert messages[2].field("ORC", 16) == "^No longer needed"


@pytest.mark.parametrize(("code", "after"), [("110505", ["ZDS DC/CA", "SC/DC"]), ("110501", ["SC/SC"])])
def test_a_discontinued_exam_ends_the_order_or_comes_back(code: str, after: list[str]) -> None:
    """PRO-03: DC/CA; FIL-05: DC. MPPS-14: what comes back is scheduled again."""
    partner()
    order = placed()
    make_appointment(order)
    exam = make_exam(order)
    exams.discontinue_exam(exam, code=code, by=person("theo"))
    assert gist(told()) == ["ZDS NW/SC", "SC/SC", "SC/IP", *after]


def test_a_start_by_mistake_is_taken_back_and_told_again() -> None:
    partner()
    order = placed()
    make_appointment(order)
    exams.undo_start(make_exam(order), by=person("theo"))
    order.refresh_from_db()
    make_exam(order)
    assert gist(told()) == ["ZDS NW/SC", "SC/SC", "SC/IP", "SC/SC", "SC/IP"]


def test_an_exam_that_nobody_planned_is_announced_when_it_starts() -> None:
    partner()
    make_exam(placed(), completed=True)
    assert gist(told()) == ["ZDS NW/SC", "SC/IP", "ZDS XO/CM", "SC/CM"]


def test_a_site_chooses_what_it_hears() -> None:
    partner("pacs", "orders", profile={"statuses": "no"})
    partner("placer", "orders", profile={"procedures": "no", "order_only": "ordering"})
    partner("other", "orders", profile={"order_only": "elsewhere"})
    partner("archive", "results")
    partner("deaf", "")
    make_report(make_exam_of(placed()), signed=True)
    assert gist(told("pacs")) == ["ZDS NW/SC", "ZDS XO/CM"]
    assert gist(told("placer")) == ["SC/SC", "SC/IP", "SC/CM"]
    assert gist(told("archive")) == ["ORU F"]
    assert told("other") == told("deaf") == []


# Results


def observations(message: Entry) -> list[tuple[str, str, str, str]]:
    """OBX-2, OBX-3, OBX-5, OBX-11; numbered from 1 without gaps."""
    rows = message.all("OBX")
    assert [row[1] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    return [(row[2], row[3], row[5], row[11]) for row in rows]


def test_the_signed_report_goes_out_with_sections_study_and_pdf() -> None:
    partner()
    order = placed()
    make_report(make_exam_of(order), signed=True, impression="No bleed.\nNo fracture | of the skull.")
    message = told()[-1]
    rows = observations(message)
    uid = order.procedures.get().study_instance_uid
    assert rows[0] == ("HD", "^Study Instance UID", uid, "F")
    assert ("FT", "59776-5^Findings^LN", "Normal.", "F") in rows
    assert ("FT", "19005-8^Impression^LN", "No bleed.\\.br\\No fracture \\F\\ of the skull.", "F") in rows
    type_, code, document, status = rows[-1]
    assert (type_, code, status) == ("ED", "18748-4^Diagnostic imaging study^LN", "F")
    source, kind, subtype, encoding, data = document.split("^")
    assert (source, kind, subtype, encoding) == ("LIGHTBOX", "application", "pdf", "Base64")
    assert base64.b64decode(data, validate=True).startswith(b"%PDF-")
    assert message.field("ORC", 1) == "RE"
    assert (message.field("OBR", 2), message.field("OBR", 18)) == (
        "A131Z^MESA_ORDPLC",
        order.accession_number,
    )
    assert message.field("OBR", 4) == message.field("OBR", 44) == "CTHEAD^CT head^L"
    assert (message.field("OBR", 24), message.field("OBR", 25)) == ("CT", "F")
    assert message.field("OBR", 32) == "rita&Radiologist&Rita"
    assert re.fullmatch(r"\d{14}", message.field("OBR", 7))
    assert re.fullmatch(r"\d{14}", message.field("OBR", 22))
    assert message.all("OBX")[1][16] == "rita^Radiologist^Rita"


def signed() -> Report:
    return make_report(make_exam_of(placed()), signed=True)


def test_a_preliminary_is_p_and_an_addendum_is_c_with_the_full_text() -> None:
    partner(facts="results")
    report = make_report(make_exam_of(placed()))
    rita = person("rita")
    reporting.make_preliminary(report, version=report.draft.version, by=rita)
    report.refresh_from_db()
    reporting.sign_report(report, version=report.draft.version, by=rita)
    report = reporting.begin_addendum(Report.objects.get(pk=report.pk), by=rita)
    draft = reporting.save_draft(
        report, [{"code": "55107-7", "title": "Addendum", "text": "Compared with 2020."}],
        version=report.draft.version, by=rita,
    )  # fmt: skip
    reporting.sign_report(report, version=draft.version, by=rita)
    messages = told()
    assert gist(messages) == ["ORU P", "ORU F", "ORU C"]
    assert messages[0].field("OBR", 32).startswith("rita")
    texts = [row[2] for row in observations(messages[2]) if row[0] == "FT"]
    assert "No acute finding." in texts
    assert texts[-1] == "Compared with 2020."
    assert {row[3] for row in observations(messages[2])} == {"C"}


def test_a_2_5_1_partner_gets_the_rad_128_form() -> None:
    partner(hl7_version="2.5.1", profile={"text": "tx", "interpreter": "xcn", "pdf": "no"})
    make_report(make_exam_of(placed()), signed=True, impression="One.\n\nThree.")
    message = told()[-1]
    rows = observations(message)
    assert message.field("MSH", 9) == "ORU^R01^ORU_R01"
    assert rows[0][:2] == ("ST", "113014^DICOM Study^DCM")
    assert rows[0][3] == "O"
    impression = [(row[2], row[3], row[5]) for row in message.all("OBX") if row[3].startswith("19005-8")]
    assert [text for _, _, text in impression] == ["One.", "", "Three."]
    assert {row[0] for row in rows[1:]} == {"TX"}
    assert message.field("OBR", 32) == "rita^Radiologist^Rita"
    assert re.fullmatch(r"\d{14}[+-]\d{4}", message.field("OBR", 22))
    assert re.fullmatch(r"\d{14}[+-]\d{4}", message.field("TQ1", 7))


def test_a_partner_may_know_sections_by_the_order_code_with_a_suffix() -> None:
    partner(facts="results", profile={"section_codes": "suffix", "pdf": "no"})
    signed()
    codes = [row[1] for row in observations(told()[-1])]
    assert "CTHEAD&GDT^Findings^L" in codes
    assert "CTHEAD&IMP^Impression^L" in codes


def test_letters_beyond_ascii_name_their_set() -> None:
    partner(profile={"pdf": "no"})
    partner("old", encoding="8859/1", profile={"pdf": "no"})
    patient = make_patient("Núñez", "José", mrn="88")
    make_appointment(placed(patient=patient))
    (modern, *_), (old, *_) = told(), told("old")
    assert modern.field("MSH", 18) == "UNICODE UTF-8"
    assert "Núñez" in modern.raw.decode()
    assert "|2.3.1||||||8859/1\r" in old.text
    assert "Núñez" in old.text


def test_every_message_to_a_partner_is_in_the_audit_trail() -> None:
    endpoint = partner()
    order = placed()
    make_appointment(order)
    count = len(told())
    rows = AuditEvent.objects.filter(action="message.sent", patient=order.patient_id)
    assert rows.count() == count
    assert {(row.username, row.subject) for row in rows} == {(endpoint.user.username, order.accession_number)}


# Others' checks of our messages


def mesa_checks(name: str) -> dict[str, list[dict[str, Any]]]:
    path = DATA / "hl7-samples" / "mesa-field-checks.json"
    if not path.exists():
        pytest.skip("no sample messages beside the repository")
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["checks"][name]["segments"]
    return found


def check(message: Entry, name: str) -> None:
    for segment, rules in mesa_checks(name).items():
        for rule in rules:
            position, _, component = rule["field"].partition(".")
            value = message.field(segment, int(position))
            if component:
                value = (value.split("^") + [""] * 9)[int(component) - 1]
            where = f"{segment}-{rule['field']}"
            if segment == "MSH" and position == "1":
                continue
            if "allowed" in rule:
                assert value in rule["allowed"], where
            elif rule["format"] == "$Z":
                assert value, where
            elif rule["format"] == "$#":
                assert re.match(r"\d", value), where
            else:
                assert value == rule["format"], where


def test_our_messages_pass_the_field_checks_of_the_ihe_tests() -> None:
    """ORA-3, ORA-5, ORA-10."""
    partner()
    order = placed()
    make_report(make_exam_of(order), signed=True)
    cancelled = placed(placer_order_number="B2", patient=make_patient("Other", mrn="77"))
    make_appointment(cancelled, start=next_hour(5))
    scheduling.cancel_order(cancelled, reason="No longer needed", by=person("clara"))
    messages = told()
    for message in messages:
        if gist([message])[0] in ("ZDS NW/SC", "ZDS CA/CA"):
            check(message, "ordfil/orm_sched_format.ini")
        elif message.field("ORC", 1) == "SC" and message.field("ORC", 5) in ("IP", "CM"):
            check(message, "ordfil/orm_status_format.ini")
        elif message.field("MSH", 9).startswith("ORU"):
            check(message, "rpt_mgr/oru_r01_format.ini")


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
def test_another_parser_reads_the_same_values(version: str) -> None:
    partner(hl7_version=version)
    order = placed()
    make_report(make_exam_of(order), signed=True)
    for message in told():
        parsed = parse_message(message.raw.decode(), find_groups=False)
        assert [child.name for child in parsed.children] == [line[:3] for line in message.lines if line]
        assert parsed.pid.pid_18.value == "131-001"
        assert parsed.orc.orc_2.value == "A131Z^MESA_ORDPLC"
        assert parsed.obr.obr_18.value == order.accession_number
