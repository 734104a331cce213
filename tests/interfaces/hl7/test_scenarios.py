"""The end-to-end scenarios of the IHE tests (MESA), with an EMR, an image manager, a report manager and a charge
processor that listen on real sockets. What they heard is held against MESA's own field checks.

People and modalities act by verbs here; `tests/flows` tells the first stories through their own doors.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from billing.actions import NewFee, set_fee
from billing.models import Charge
from interfaces.actions import configure_endpoint
from interfaces.hl7 import sender
from interfaces.models import Case, Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.exams.actions import NewPerformedStep, PerformedChange, ScheduledReference
from ris.exams.models import Exam, PerformedProcedureStep
from ris.orders.actions import NewOrder, place_order
from ris.orders.models import Order
from ris.patients.models import Patient
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report
from scheduling import actions as scheduling
from tests.cast import person
from tests.interfaces.hl7.samples import DATA, adt, group, msh, orm, pid
from tests.makers import make_facility, make_procedure_type, make_room, next_hour
from tests.peers.emr import Emr, Entry, Line

pytestmark = pytest.mark.timeout(120)

CHECKS = DATA / "hl7-samples" / "mesa-field-checks.json"


class Department:
    """A hospital around us: what each partner heard, and people who act."""

    def __init__(self, folder: Path, server: tuple[str, int]) -> None:
        self.line = Line(server)
        self.peers = {name: Emr(folder / f"{name}.jsonl") for name in ("emr", "im", "rm", "bill")}
        self.endpoints: dict[str, Endpoint] = {}

    def set_up(self) -> None:
        choices: dict[str, tuple[list[str], str, dict[str, str]]] = {
            "emr": (
                ["orders", "results", "schedule"], "2.3.1",
                {"procedures": "no", "filler_orders": "yes", "cancels": "oc"},
            ),
            "im": (["orders"], "2.3.1", {"statuses": "no", "patients": "yes"}),
            "rm": (["orders"], "2.5.1", {"statuses": "no", "patients": "yes", "procedures": "omi"}),
            "bill": (["charges"], "2.3.1", {}),
        }  # fmt: skip
        for name, (facts, version, profile) in choices.items():
            self.peers[name].start()
            values = {
                "protocol": "mllp", "direction": "out", "address": self.peers[name].address, "facts": facts,
                "hl7_version": version, "profile": profile,
            }  # fmt: skip
            self.endpoints[name] = configure_endpoint(name, values, by=system_user("shell"))

    def close(self) -> None:
        self.line.socket.close()
        for peer in self.peers.values():
            peer.stop()

    def told(self, name: str) -> list[Entry]:
        """All that the partner has made its own so far."""
        relay_all()
        sender.drain(self.endpoints[name].pk, linger=0)
        return self.peers[name].taken()

    def heard(self, name: str, control: str = "", *, type_: str = "") -> list[Entry]:
        return [
            one for one in self.told(name)
            if (not control or one.field("ORC", 1) == control) and one.type.startswith(type_)
        ]  # fmt: skip

    def takes(self, message: str) -> None:
        ack = self.line.send(message)
        assert ack.code == "AA", ack.raw

    # What people and machines do

    def plan(self, number: str = "A1", hours: int = 2) -> Order:
        order = Order.objects.get(placer_order_number=number)
        scheduling.book(order, room=make_room(), start=next_hour(hours), by=person("mona"))
        order.refresh_from_db()
        return order

    def begin(self, order: Order | None, uid: str = "1.2.840.99", **changes: Any) -> None:
        references = tuple(
            ScheduledReference(one.study_instance_uid, order.accession_number, one.requested_procedure_id)
            for one in (order.procedures.all() if order else [])
        )
        values = {"station_ae_title": "CT1", "modality": "CT", "references": references, **changes}
        exams.begin_performed_step(
            NewPerformedStep(uid, started_at=timezone.now(), **values), by=person("epic")
        )

    def end(self, uid: str = "1.2.840.99", **changes: Any) -> None:
        exams.complete_performed_step(
            uid, PerformedChange(ended_at=timezone.now(), **changes), by=person("epic")
        )

    def write(self, exam: Exam, text: str = "No acute finding.") -> tuple[Report, int]:
        report = reporting.open_report(exam, by=person("rita"))
        return report, self._fill(report, text)

    def _fill(self, report: Report, text: str) -> int:
        draft = Draft.objects.get(report=report)
        sections: Any = [{**one, "text": text} for one in draft.sections]
        return reporting.save_draft(report, sections, version=draft.version, by=person("rita")).version

    def sign(self, exam: Exam, text: str = "No acute finding.") -> Report:
        report, version = self.write(exam, text)
        reporting.sign_report(report, version=version, by=person("rita"))
        report.refresh_from_db()
        return report


@pytest.fixture
def department(tmp_path: Path, server: tuple[str, int]) -> Iterator[Department]:
    make_facility()
    make_procedure_type("CTHEAD")
    make_procedure_type("CTNECK")
    made = Department(tmp_path, server)
    made.set_up()
    yield made
    made.close()


def follows(entry: Entry, name: str) -> list[str]:
    """Where a message leaves MESA's format check of this name; needs the stored checks."""
    if not CHECKS.exists():
        pytest.skip("the MESA field checks are not here")
    found = []
    for segment, rules in json.loads(CHECKS.read_text())["checks"][name]["segments"].items():
        for rule in rules:
            field, _, component = str(rule["field"]).partition(".")
            value = "|" if (segment, field) == ("MSH", "1") else entry.field(segment, int(field))
            if component:
                parts = value.split("^")
                value = parts[int(component) - 1] if int(component) <= len(parts) else ""
            if "allowed" in rule:
                fine = (value.split("^")[0] if segment != "MSH" else value) in rule["allowed"]
            elif rule["format"] == "$#":
                # Digits: a time, wherever in TQ it stands.
                fine = bool(re.search(r"\d{8}", value))
            else:
                fine = bool(value) if rule["format"] == "$Z" else value == rule["format"]
            if not fine:
                found.append(f"{segment}-{rule['field']} is {value!r}")
    return found


def test_scn_02_07_a_scheduled_exam_is_told_to_everybody(department: Department) -> None:
    """SCN-02, SCN-07, ORA-3, ORA-5: RAD-1, 2, 4, 6, 7, 3 with the same numbers everywhere."""
    department.takes(adt("A04"))
    department.takes(orm("NW"))
    order = department.plan()
    department.begin(order)
    department.end()
    emr = department.heard("emr", "SC")
    assert [one.field("ORC", 5) for one in emr] == ["SC", "IP", "CM"]
    for one in emr[1:]:
        assert follows(one, "ordfil/orm_status_format.ini") == []
        assert one.field("ORC", 2) == "A1^EMR"
    im = department.heard("im", type_="ORM")
    assert [(one.field("ORC", 1), one.field("ORC", 5)) for one in im] == [("NW", "SC"), ("XO", "CM")]
    assert follows(im[0], "ordfil/orm_sched_format.ini") == []
    procedure = order.procedures.get()
    for one in im:
        assert one.field("OBR", 18) == order.accession_number
        assert one.field("OBR", 19) == procedure.requested_procedure_id
        assert one.field("ZDS", 1).startswith(procedure.study_instance_uid + "^")
    rm = department.heard("rm", type_="OMI")
    assert [one.field("ORC", 1) for one in rm] == ["NW", "XO"]
    for one in rm:
        assert one.field("IPC", 1).split("^")[0] == order.accession_number
        assert one.field("IPC", 3).split("^")[0] == procedure.study_instance_uid


def test_scn_03_an_unknown_patient_gets_a_name(department: Department) -> None:
    """SCN-03 (PIR1), ORA-7: ordered and imaged as Doe, then A08: the managers hear the name, and all that follows has it."""
    doe = pid(name="DOE^JOHN", born="", sex="U")
    department.takes(adt("A04", person=doe))
    department.takes(orm("NW", person=doe))
    order = department.plan()
    department.begin(order)
    department.end()
    department.takes(adt("A08", person=pid(name="SILVA^MARTA", born="19700101")))
    for name in ("im", "rm"):
        (update,) = department.heard(name, type_="ADT^A08")
        assert update.field("PID", 5).startswith("SILVA^MARTA")
        assert follows(update, "ordfil/adt_a08_format.ini") == [] or name == "rm"
    department.sign(Exam.objects.get(order=order))
    (result,) = department.heard("emr", type_="ORU")
    assert result.field("PID", 5).startswith("SILVA^MARTA")


def visiting(message: str, visit: str) -> str:
    """The same message about another visit: a visit is one patient's."""
    return message.replace("V131-1", visit)


def merge(into: str, retired: str, name: str = "OKAFOR^ADAEZE") -> str:
    return "\r".join(
        [
            msh("ADT^A40"), "EVN|A40|20260301120000", f"PID|||{into}^^^HOSP^MR||{name}||19680714|F|||||||||||ACC-9",
            f"MRG|{retired}^^^HOSP^MR||||||{name}", "",
        ]
    )  # fmt: skip


def test_scn_04_a_merge_after_the_exam_moves_everything(department: Department) -> None:
    """SCN-04 (PIR2), ORA-8: A40 is passed on, the exams are the survivor's, the retired number leads there."""
    doe = pid(mrn="TMP1", name="DOE^JOHN", born="", sex="U")
    department.takes(adt("A04", person=pid(rest="|||||||||ACC-9")))
    department.takes(visiting(orm("NW", person=doe), "V2"))
    order = department.plan()
    department.begin(order)
    department.end()
    department.takes(merge("004417268", "TMP1"))
    order.refresh_from_db()
    survivor = Patient.objects.get(identifiers__value="004417268")
    assert order.patient_id == survivor.pk
    (cascade,) = department.heard("im", type_="ADT^A40")
    assert follows(cascade, "ordfil/adt_a40_format.ini") == []
    assert cascade.field("MRG", 1).startswith("TMP1^")
    department.takes(visiting(orm("NW", "A2^EMR", person=doe), "V2"))
    assert Order.objects.get(placer_order_number="A2").patient_id == survivor.pk
    department.takes(merge("004417268", "TMP1"))
    assert len(department.heard("im", type_="ADT^A40")) == 1, "twice is once"


def test_a_signed_report_that_changes_its_patient_is_told_anew(department: Department) -> None:
    """PIR-02, SCN-19: the merge of a read exam sends its report as C under the survivor's number; the text stays."""
    department.takes(adt("A04"))
    department.takes(visiting(orm("NW", person=pid(mrn="TMP1", name="DOE^JOHN", born="", sex="U")), "V2"))
    order = department.plan()
    department.begin(order)
    department.end()
    department.sign(Exam.objects.get(order=order), "Fracture.")
    assert [one.field("OBR", 25) for one in department.heard("emr", type_="ORU")] == ["F"]
    department.takes(merge("004417268", "TMP1"))
    heard = department.heard("emr", type_="ORU")
    assert [one.field("OBR", 25) for one in heard] == ["F", "C"]
    assert "004417268^" not in heard[0].field("PID", 3)
    assert "004417268^" in heard[1].field("PID", 3)
    assert "Fracture." in heard[1].text


def numbered(order: Order, number: str) -> str:
    """ORR^O02 NA as the placer answers SN (RAD-3)."""
    return "\r".join(
        [
            msh("ORR^O02"), "MSA|AA|X1", f"ORC|NA|{number}^EMR|{order.accession_number}^LIGHTBOX|||||||||7101^ESTRADA",
            f"OBR|1|{number}^EMR|{order.accession_number}^LIGHTBOX|CTHEAD^CT head^L", "",
        ]
    )  # fmt: skip


def test_scn_05_the_exam_comes_before_the_order(department: Department) -> None:
    """SCN-05 (PIR3), ORA-1, ORA-4, PRO-05: images first; the order is born here, numbered by the placer, and keeps the
    modality's own Study Instance UID."""
    department.takes(adt("A04"))
    modality_uid = "1.2.840.113619.2.55.3.7"
    department.begin(None, references=(ScheduledReference(modality_uid),))
    department.end()
    step = PerformedProcedureStep.objects.get()
    assert step.problem
    patient = Patient.objects.get()
    order = place_order(
        NewOrder(patient=patient, facility=make_facility(), procedure_type=make_procedure_type("CTHEAD"), reason="Trauma"),
        by=person("theo"),
    )  # fmt: skip
    (born,) = department.heard("emr", "SN")
    assert born.field("ORC", 2) == ""
    assert born.field("ORC", 3).startswith(order.accession_number)
    department.takes(numbered(order, "P77"))
    order.refresh_from_db()
    assert (order.placer_order_number, order.placer_authority) == ("P77", "EMR")
    exams.match_performed_step(step, order, by=person("theo"))
    im = department.heard("im", type_="ORM")
    assert im[0].field("ORC", 1) == "NW"
    assert im[0].field("ZDS", 1).startswith(modality_uid + "^")
    assert {one.field("ZDS", 1).split("^")[0] for one in im} == {modality_uid}


def test_scn_06_radiology_changes_the_ordered_procedure(department: Department) -> None:
    """SCN-06 (132, 142), ORA-2: OC and RAD-13 CA for the old procedure, SN and RAD-4 for the new one."""
    department.takes(orm("NW"))
    old = department.plan()
    new = scheduling.replace_order(
        old,
        NewOrder(patient=old.patient, facility=old.facility, procedure_type=make_procedure_type("CTNECK"), reason="Neck"),
        by=person("mona"),
    )  # fmt: skip
    (gone,) = department.heard("emr", "OC")
    assert gone.field("ORC", 2) == "A1^EMR"
    assert follows(gone, "ordfil/orm_o01x_format.ini") == []
    (born,) = department.heard("emr", "SN")
    assert born.field("ORC", 3).startswith(new.accession_number)
    controls = [(one.field("ORC", 1), one.field("OBR", 18)) for one in department.heard("im", type_="ORM")]
    assert ("CA", old.accession_number) in controls
    assert ("NW", new.accession_number) in controls
    assert controls.index(("CA", old.accession_number)) < controls.index(("NW", new.accession_number))


def test_scn_08_a_wrong_worklist_entry_is_taken_back(department: Department) -> None:
    """SCN-08: DISCONTINUED with 110514: the right step is open again, the placer hears so, nothing is charged."""
    department.takes(orm("NW"))
    order = department.plan()
    department.begin(order)
    exams.discontinue_performed_step(
        "1.2.840.99",
        PerformedChange(ended_at=timezone.now(), discontinuation_code="110514"),
        by=person("epic"),
    )
    order.refresh_from_db()
    assert order.status == "scheduled"
    assert [one.field("ORC", 5) for one in department.heard("emr", "SC")] == ["SC", "IP", "SC"]
    assert department.told("bill") == []
    assert Charge.objects.count() == 0


def test_scn_12_appointments_are_told(department: Department) -> None:
    """SCN-12, APT-01, APT-03: S12, S13 and S15 as MESA 151 to 153."""
    department.takes(orm("NW"))
    order = department.plan()
    appointment = order.appointments.get()
    scheduling.reschedule(appointment, room=make_room(), start=next_hour(5), by=person("mona"))
    appointment.refresh_from_db()
    scheduling.cancel_appointment(appointment, reason="Patient's wish", by=person("clara"))
    heard = department.heard("emr", type_="SIU")
    assert [one.type.split("^")[1] for one in heard] == ["S12", "S13", "S15"]
    assert [one.field("RGS", 2) for one in heard] == ["A", "U", "D"]
    assert {one.field("SCH", 26).split("^")[0] for one in heard} == {"A1"}


def test_scn_13_charges_are_posted(department: Department) -> None:
    """SCN-13, ORA-9, CHG-13: the technical half when the exam is done, the professional when the report is signed."""
    for code in ("CT-T", "CT-P"):
        set_fee(NewFee(code, Decimal(120)), by=person("ben"))
    department.takes(orm("NW"))
    order = department.plan()
    department.begin(order)
    department.end()
    technical = department.told("bill")
    assert [
        one.field("PR1", 16).split("^")[0] or one.field("FT1", 26).split("^")[0] for one in technical
    ] == ["TC"]
    department.sign(Exam.objects.get(order=order))
    posted = department.told("bill")
    assert len(posted) == 2
    for one in posted:
        assert follows(one, "ordfil/dft_p03_format.ini") == []
        assert one.field("FT1", 6) == "CG"
        assert one.field("FT1", 23).startswith(order.accession_number)


def test_scn_16_the_placer_cancels_before_and_after_the_exam(department: Department) -> None:
    """SCN-16, ORD-02: before, everybody hears it; after, it is refused and nothing changes."""
    department.takes(orm("NW"))
    department.plan()
    department.takes("\r".join([msh("ORM^O01"), "ORC|CA|A1^EMR", ""]))
    assert [one.field("ORC", 1) for one in department.heard("im", type_="ORM")] == ["NW", "CA"]
    department.takes(orm("NW", "A2^EMR"))
    second = department.plan("A2", 4)
    department.begin(second)
    department.end()
    ack = department.line.send("\r".join([msh("ORM^O01"), "ORC|CA|A2^EMR", ""]))
    assert ack.code == "AE"
    second.refresh_from_db()
    assert second.status == "performed"


def test_scn_17_a_report_lives(department: Department) -> None:
    """SCN-17, RST-04, RST-05, RST-06, RST-11: P, then F, then C; P never comes after F."""
    department.takes(orm("NW"))
    order = department.plan()
    department.begin(order)
    department.end()
    report, version = department.write(Exam.objects.get(order=order), "First look.")
    reporting.make_preliminary(report, version=version, by=person("rita"))
    version = department._fill(report, "Second look.")
    reporting.sign_report(report, version=version, by=person("rita"))
    report.refresh_from_db()
    reporting.begin_addendum(report, by=person("rita"))
    version = department._fill(report, "Added.")
    report.refresh_from_db()
    reporting.sign_report(report, version=version, by=person("rita"))
    heard = department.heard("emr", type_="ORU")
    assert [one.field("OBR", 25) for one in heard] == ["P", "F", "C"]
    assert "Second look." in heard[2].text
    assert "Added." in heard[2].text
    for one in heard:
        assert follows(one, "rpt_mgr/oru_r01_format.ini") == []


def test_scn_18_a_report_on_the_wrong_patient_is_taken_back_and_moved(department: Department) -> None:
    """SCN-18, RES-29, RST-10: W to the wrong patient, then F for the right one."""
    department.takes(orm("NW"))
    department.takes(
        visiting(orm("NW", "B1^EMR", person=pid(mrn="77", name="ROSSI^CARLA", born="19500505")), "V2")
    )
    wrong, right = department.plan(), department.plan("B1", 4)
    for number, order in enumerate((wrong, right)):
        department.begin(order, f"1.2.840.99.{number}")
        department.end(f"1.2.840.99.{number}")
    report = department.sign(Exam.objects.get(order=wrong), "Fracture.")
    reporting.move_report(report, Exam.objects.get(order=right), by=person("rita"))
    heard = department.heard("emr", type_="ORU")
    assert [(one.field("ORC", 2).split("^")[0], one.field("OBR", 25)) for one in heard] == [
        ("A1", "F"),
        ("A1", "X"),
    ]
    assert {line[11] for line in heard[1].all("OBX") if len(line) > 11} <= {"W", "O"}
    moved = Report.objects.exclude(pk=report.pk).get()
    version = Draft.objects.get(report=moved).version
    reporting.sign_report(moved, version=version, by=person("rita"))
    last = department.heard("emr", type_="ORU")[-1]
    assert (last.field("ORC", 2).split("^")[0], last.field("OBR", 25)) == ("B1", "F")
    assert last.field("PID", 5).startswith("ROSSI")


def test_scn_20_an_outage_of_the_emr_loses_and_doubles_nothing(department: Department) -> None:
    """SCN-20, MLLP-16: nobody answers for a while; then each message comes once, in order."""
    emr = department.peers["emr"]
    department.takes(orm("NW"))
    emr.stop()
    order = department.plan()
    department.begin(order)
    department.end()
    assert department.heard("emr", "SC") == []
    assert OutboundMessage.objects.filter(endpoint=department.endpoints["emr"], status="queued").count() >= 3
    emr.start()
    Endpoint.objects.filter(name="emr").update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    OutboundMessage.objects.filter(endpoint__name="emr").update(next_attempt_at=timezone.now())
    assert [one.field("ORC", 5) for one in department.heard("emr", "SC")] == ["SC", "IP", "CM"]
    seen = [one.control_id for one in emr.entries()]
    assert len(seen) == len(set(seen))


def test_scn_23_two_sites_use_the_same_numbers(department: Department) -> None:
    """SCN-23, PID-B: the authority is a part of the number, the sender a part of the order's."""
    north = configure_endpoint(
        "north", {"direction": "in", "match_facility": "NORTH"}, by=system_user("shell")
    )
    one = orm("NW", "7", person="PID|||55^^^HOSP^MR||OKAFOR^ADAEZE||19680714|F")
    two = orm("NW", "7", person="PID|||55^^^NORTH^MR||ROSSI^CARLA||19500505|F", facility="NORTH")
    department.takes(one)
    department.takes(visiting(two, "V2"))
    assert Patient.objects.count() == 2
    assert Order.objects.filter(placer_order_number="7").count() == 2
    department.takes("\r".join([msh("ORM^O01", facility="NORTH"), "ORC|CA|7", ""]))
    orders = {order.patient.family: order.status for order in Order.objects.select_related("patient")}
    assert {name.upper(): status for name, status in orders.items()} == {
        "OKAFOR": "requested",
        "ROSSI": "cancelled",
    }
    assert north.pk


def test_scn_10_several_exams_of_one_message_are_told_apart(department: Department) -> None:
    """SCN-10, ORD-10: one message, two orders; each has its own numbers, statuses and completion."""
    both = orm("NW").rstrip("\r") + "\r" + group("NW", "A2^EMR", code="CTNECK^CT neck^L") + "\r"
    department.takes(both)
    for number, hours in (("A1", 2), ("A2", 4)):
        order = department.plan(number, hours)
        department.begin(order, f"1.2.840.99.{number[1]}")
    department.end("1.2.840.99.1")
    heard: Callable[[str], list[str]] = lambda number: [  # noqa: E731
        one.field("ORC", 5) for one in department.heard("emr", "SC") if one.field("ORC", 2).startswith(number)
    ]
    assert heard("A1") == ["SC", "IP", "CM"]
    assert heard("A2") == ["SC", "IP"]
    assert Case.objects.filter(status="open").count() == 0


def test_scn_10_one_acquisition_for_two_orders(department: Department) -> None:
    """SCN-10, PRO-06: the group case: each procedure keeps its accession and its number, and each is told as done."""
    department.takes(orm("NW").rstrip("\r") + "\r" + group("NW", "A2^EMR", code="CTNECK^CT neck^L") + "\r")
    orders = [department.plan("A1", 2), department.plan("A2", 4)]
    references = tuple(
        ScheduledReference(one.study_instance_uid, order.accession_number, one.requested_procedure_id)
        for order in orders
        for one in order.procedures.all()
    )
    department.begin(None, references=references)
    department.end()
    done = {one.field("ORC", 2): one.field("ORC", 5) for one in department.heard("emr", "SC")}
    assert done == {"A1^EMR": "CM", "A2^EMR": "CM"}
    told = [one for one in department.heard("im", "XO") if one.field("ORC", 5) == "CM"]
    assert {one.field("OBR", 18) for one in told} == {order.accession_number for order in orders}
    assert len({one.field("OBR", 19) for one in told}) == 2
