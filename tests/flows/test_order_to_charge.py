"""Whole stories over real sockets: the EMR asks, the desk plans, the scanner does, the radiologist reads, billing is owed.

The people work through the REST door here; `test_in_the_browser.py` tells the first story with their own hands.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.flows.department import STEP, ZONE, Person, Refused, Scanner, adt, cancel, findscu, orm, send
from tests.peers.emr import Emr, Entry
from tests.stack import Stack, until

pytestmark = [pytest.mark.peer("dcmtk"), pytest.mark.timeout(240)]


class Hospital:
    """A running department with an EMR that listens."""

    def __init__(self, stack: Stack, emr: Emr) -> None:
        self.stack = stack
        self.emr = emr
        self.desk = Person(stack, "frontdesk")
        self.tech = Person(stack, "tech")
        self.radiologist = Person(stack, "radiologist")
        self.biller = Person(stack, "biller")
        self.scanner = Scanner(stack)
        self._exam_types: dict[str, int] = {}

    def order(self, placer: str, mrn: str, code: str = "CT-HEAD") -> dict[str, object]:
        """Let the EMR register and order; the order as the record has it."""
        assert send(self.stack, adt(mrn)).code == "AA"
        assert send(self.stack, orm(mrn, placer, code=code)).code == "AA"
        return self.find(placer)

    def find(self, placer: str) -> dict[str, object]:
        orders = self.desk.get("orders/?limit=1000")["results"]
        (order,) = [one for one in orders if one["placer_order_number"] == placer]
        found: dict[str, object] = order
        return found

    def book(self, order: dict[str, object]) -> dict[str, object]:
        kind = order["procedures"][0]["procedure_type"]  # type: ignore[index]
        (free, *_) = self.desk.get(f"slots/?procedure_type={kind}&days=14")
        booked: dict[str, object] = self.desk.post(
            "appointments/", {"order": order["id"], "room": free["room"], "start": free["start"]}
        )
        return booked

    def heard(self, placer: str, seconds: float = 15, count: int = 0) -> list[Entry]:
        """What the EMR made its own of one order, in order, once `count` messages have come."""

        def of_order() -> list[Entry]:
            return [one for one in self.emr.taken() if one.field("ORC", 2).split("^")[0] == placer]

        until(lambda: len(of_order()) >= count, seconds, f"{count} messages of {placer}")
        return of_order()

    def entry(self, accession: str) -> list[object]:
        return list(findscu(self.stack, f"AccessionNumber={accession}"))

    def read(self, accession: str, impression: str = "No acute intracranial finding.") -> dict[str, object]:
        exams = self.radiologist.get("exams/?limit=1000&status=completed")["results"]
        (exam,) = [one for one in exams if one["accession_number"] == accession]
        report = self.radiologist.post("reports/", {"exam": exam["id"]})
        wording = {"59776-5": "Normal ventricles and sulci.", "19005-8": impression}
        sections = [
            {**one, "text": wording.get(one["code"], one["text"])} for one in report["draft"]["sections"]
        ]
        saved = self.radiologist.call(
            "PUT",
            f"reports/{report['id']}/draft/",
            {"sections": sections, "version": report["draft"]["version"]},
        )
        signed: dict[str, object] = self.radiologist.post(
            f"reports/{report['id']}/sign/", {"version": saved["draft"]["version"]}
        )
        return signed


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder: Path = tmp_path_factory.mktemp("flow")
    with Emr(folder / "emr.jsonl") as emr, Stack(folder / "data") as stack:
        stack.manage(
            "endpoint", "EPIC", "--protocol", "mllp", "--direction", "out", "--address", emr.address, "--facts",
            "orders,results",
        )  # fmt: skip
        yield Hospital(stack, emr)


def told(entries: list[Entry]) -> list[str]:
    """A conversation in short: message, order control, status of the order or of the result."""

    def status(one: Entry) -> str:
        return one.field("OBR", 25) if one.type.startswith("ORU") else one.field("ORC", 5)

    return [f"{one.type[:7]} {one.field('ORC', 1)} {status(one)}" for one in entries]


def test_an_order_becomes_a_report_and_charges(hospital: Hospital) -> None:
    order = hospital.order("P1001", "004417268")
    booked = hospital.book(order)
    accession = str(order["accession_number"])
    day = datetime.fromisoformat(str(booked["starts_at"])).astimezone(ZONE)

    for keys in (
        [
            f"{STEP}.ScheduledProcedureStepStartDate={day:%Y%m%d}",
            f"{STEP}.Modality=CT",
            f"{STEP}.ScheduledStationAETitle=CT1",
        ],
        [f"AccessionNumber={accession}"],
        ["PatientID=004417268"],
        ["PatientName=OKA*"],
    ):  # fmt: skip
        answers = findscu(hospital.stack, *keys)
        assert [one.AccessionNumber for one in answers] == [accession], keys
    (entry,) = answers
    uid, status = hospital.scanner.start(entry)
    assert status == 0x0000
    assert findscu(hospital.stack, f"AccessionNumber={accession}") == []
    assert hospital.scanner.finish(uid) == 0x0000

    heard = hospital.heard("P1001", count=5)
    assert told(heard)[:1] == ["ORM^O01 NW SC"]  # RAD-4, with the study's UID
    assert heard[0].field("ZDS", 1).startswith(entry.StudyInstanceUID)
    statuses = [one.field("ORC", 5) for one in heard if one.field("ORC", 1) == "SC"]
    assert statuses == ["SC", "IP", "CM"]

    report = hospital.read(accession, "No acute intracranial finding.")
    assert report["status"] == "final"
    results = until(
        lambda: [one for one in hospital.heard("P1001") if one.type.startswith("ORU")],
        20,
        "a result at the EMR",
    )
    (result,) = results
    assert result.field("OBR", 25) == "F"
    texts = [segment for segment in result.all("OBX") if segment[2] in {"TX", "FT"}]
    assert any("No acute intracranial finding." in segment[5] for segment in texts)
    (document,) = [segment for segment in result.all("OBX") if segment[2] == "ED"]
    assert document[5].split("^")[3:4] == ["Base64"]
    assert document[5].split("^")[4].startswith("JVBERi0")  # %PDF-

    charges = until(
        lambda: (
            [
                one
                for one in hospital.biller.get("charges/")["results"]
                if one["accession_number"] == accession
            ][1:]
            and [
                one
                for one in hospital.biller.get("charges/")["results"]
                if one["accession_number"] == accession
            ]
        ),
        20,
        "two charges",
    )
    assert sorted((one["component"], one["code"]) for one in charges) == [
        ("professional", "CT-HEAD-P"),
        ("technical", "CT-HEAD-T"),
    ]


def test_a_cancel_before_the_exam_empties_plan_and_worklist(hospital: Hospital) -> None:
    order = hospital.order("P1002", "004417269")
    hospital.book(order)
    accession = str(order["accession_number"])
    assert len(hospital.entry(accession)) == 1
    assert send(hospital.stack, cancel("P1002")).code == "AA"
    assert hospital.entry(accession) == []
    assert hospital.find("P1002")["status"] == "cancelled"
    heard = hospital.heard("P1002", count=3)
    assert "ORM^O01 CA CA" in told(heard)  # RAD-13


def test_a_cancel_after_the_exam_is_refused_and_changes_nothing(hospital: Hospital) -> None:
    order = hospital.order("P1003", "004417270")
    hospital.book(order)
    (entry,) = hospital.entry(str(order["accession_number"]))
    uid, _ = hospital.scanner.start(entry)  # type: ignore[arg-type]
    hospital.scanner.finish(uid)
    ack = send(hospital.stack, cancel("P1003"))
    assert ack.code == "AE"
    assert hospital.find("P1003")["status"] == "performed"


def test_an_addendum_reaches_the_emr_as_a_correction(hospital: Hospital) -> None:
    order = hospital.order("P1004", "004417271")
    hospital.book(order)
    (entry,) = hospital.entry(str(order["accession_number"]))
    uid, _ = hospital.scanner.start(entry)  # type: ignore[arg-type]
    hospital.scanner.finish(uid)
    report = hospital.read(str(order["accession_number"]))
    reader = hospital.radiologist
    opened = reader.post(f"reports/{report['id']}/addendum/")
    saved = reader.call(
        "PUT",
        f"reports/{report['id']}/draft/",
        {
            "sections": [
                {"code": "55107-7", "title": "Addendum", "text": "Compared with the study of 2024."}
            ],
            "version": opened["draft"]["version"],
        },
    )
    reader.post(f"reports/{report['id']}/sign/", {"version": saved["draft"]["version"]})
    results = until(
        lambda: (
            [one for one in hospital.heard("P1004") if one.type.startswith("ORU")][1:]
            and [one for one in hospital.heard("P1004") if one.type.startswith("ORU")]
        ),
        20,
        "two results at the EMR",
    )
    assert [one.field("OBR", 25) for one in results] == ["F", "C"]
    wording = "".join(segment[5] for segment in results[1].all("OBX"))
    assert "No acute intracranial finding." in wording
    assert "Compared with the study of 2024." in wording


def test_a_second_booking_of_an_order_is_refused(hospital: Hospital) -> None:
    order = hospital.order("P1005", "004417272")
    hospital.book(order)
    with pytest.raises(Refused, match="409"):
        hospital.book(order)


def test_an_order_with_an_unknown_code_waits_for_a_person(hospital: Hospital) -> None:
    order = hospital.order("P1006", "004417273", code="WEIRD")
    (procedure,) = order["procedures"]  # type: ignore[misc,attr-defined]
    assert procedure["procedure_type"] is None
    with pytest.raises(Refused, match="422"):
        hospital.desk.post("appointments/", {"order": order["id"], "room": 1, "start": "2030-01-07T15:00Z"})
    kinds = hospital.desk.get("procedure-types/?code=CT-HEAD")["results"]
    hospital.desk.post(
        f"orders/{order['id']}/map-procedure/",
        {"procedure": procedure["id"], "procedure_type": kinds[0]["id"], "remember": True},
    )
    hospital.book(hospital.find("P1006"))
    again = hospital.order("P1007", "004417273", code="WEIRD")
    assert again["procedures"][0]["procedure_type"] == kinds[0]["id"]  # type: ignore[index]
