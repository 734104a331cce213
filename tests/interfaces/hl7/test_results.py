"""What a partner hears of a report, from "not yet read" to withdrawn (conformance.md 8)."""

import json
from collections.abc import Mapping, Sequence

import pytest
from django.utils import timezone

from interfaces import engine
from interfaces.hl7.er7 import decode
from interfaces.hl7.outbound.oru import split
from interfaces.models import OutboundMessage
from ris.exams import actions as exams
from ris.exams.models import Exam
from ris.orders.actions import assign_placer_number
from ris.orders.models import Order, RequestedProcedure
from ris.patients.models import Patient
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.sections import IMPRESSION, Section
from tests.cast import person
from tests.interfaces.hl7.orders import new, said, send, sender, the_order
from tests.interfaces.hl7.samples import DATA
from tests.interfaces.hl7.test_telling import observations, partner, placed, told
from tests.makers import (
    make_exam,
    make_order,
    make_patient,
    make_practitioner,
    make_procedure_type,
    make_report,
)
from tests.peers.emr import Entry

pytestmark = pytest.mark.django_db

QUIET = {"pdf": "no"}


def results(name: str = "emr") -> list[Entry]:
    return [one for one in told(name) if one.type[:3] in ("ORU", "MDM")]


def statuses(message: Entry) -> tuple[str, str]:
    """OBR-25, and OBX-11 of the texts."""
    texts = {row[11] for row in message.all("OBX") if row[2] in ("FT", "TX")}
    return message.field("OBR", 25), "".join(sorted(texts))


def write(report: Report, *sections: tuple[str, str, str], finding: str | None = None) -> Report:
    """Another text for the draft: (code, title, text) of each section."""
    draft = Draft.objects.get(report=report)
    wording: list[Section] = [{"code": code, "title": title, "text": text} for code, title, text in sections]
    reporting.save_draft(report, wording, version=draft.version, finding=finding, by=person("rita"))
    return Report.objects.get(pk=report.pk)


def sign(report: Report) -> None:
    reporting.sign_report(report, version=Draft.objects.get(report=report).version, by=person("rita"))


def release(report: Report) -> None:
    version = Draft.objects.get(report=report).version
    reporting.make_preliminary(report, version=version, by=person("rita"))


def a_whole_life(exam: Exam) -> Report:
    """Every stage a report can have, one after the other."""
    rita = person("rita")
    report = make_report(exam)
    release(report)
    release(report)
    sign(report)
    reporting.begin_addendum(report, by=rita)
    sign(write(report, ("55107-7", "Addendum", "Told by phone.")))
    reporting.begin_correction(report, by=rita)
    sign(report)
    reporting.withdraw_report(report, "entered_in_error", words="Wrong key", by=rita)
    return report


STAGES = {
    "plain": ({}, "P/P P/P F/F C/C C/C X/W"),
    "status": ({"unread_status": "yes"}, "I/ P/P P/P F/F C/C C/C X/W"),
    "appends": ({"addendum": "a"}, "P/P P/P F/F A/A C/C X/W"),
    "deletes": ({"withdrawn": "c", "withdrawn_lines": "d"}, "P/P P/P F/F C/C C/C C/D"),
}


def test_a_report_is_told_as_it_goes() -> None:
    """RST-01, RST-04 to RST-07, RST-10, RST-11, RES-09, RES-21, SCN-17: in order, and later ones later by OBR-22."""
    for name, (profile, _) in STAGES.items():
        partner(name, facts="results", profile={**QUIET, **profile})
    a_whole_life(make_exam(placed(), completed=True))
    for name, (profile, expected) in STAGES.items():
        messages, heard = results(name), expected.split()
        assert ["/".join(statuses(one)) for one in messages] == heard
        times = [one.field("OBR", 22) for one in messages]
        assert times == sorted(times)
        final, addendum = messages[heard.index("F/F")], messages[heard.index("F/F") + 1]
        shown = [row[2] for row in observations(addendum) if row[0] == "FT"]
        assert shown[-1] == "Told by phone."
        assert (len(shown) == 1) == (profile.get("addendum") == "a")
        # What is taken back is named as it was sent, and its words are gone.
        withdrawn = messages[-1]
        keys = {(row[3], row[4]) for row in final.all("OBX") if row[2] == "FT"}
        assert {(row[3], row[4]) for row in withdrawn.all("OBX") if row[2] == "FT"} == keys
        assert {row[2] for row in observations(withdrawn) if row[0] == "FT"} == {
            "WITHDRAWAL: Entered in error. Wrong key."
        }


def test_what_was_never_told_is_not_taken_back_and_a_preliminary_is_cancelled_with_x() -> None:
    """RST-02, RST-09."""
    partner(facts="results", profile=QUIET)
    rita = person("rita")
    silent, released = (make_report(make_exam(placed(placer_order_number=n), completed=True)) for n in "12")
    reporting.cancel_report(silent, by=rita)
    release(released)
    reporting.cancel_report(released, words="Wrong series", by=rita)
    assert [statuses(one) for one in results()] == [("P", "P"), ("X", "X")]


def test_a_signed_text_that_differs_from_the_preliminary_says_so() -> None:
    """RST-08: F with a flag, because care may have begun on the preliminary text."""
    partner(facts="results", profile=QUIET)
    report = make_report()
    write(report, (*IMPRESSION, "No fracture."))
    reporting.make_preliminary(report, version=Draft.objects.get(report=report).version, by=person("rita"))
    write(report, (*IMPRESSION, "Fracture."))
    version = Draft.objects.get(report=report).version
    reporting.sign_report(report, version=version, significance="major", by=person("rita"))
    preliminary, final = results()
    flag = "Differs from the preliminary report: Major: care may change"
    flagged = [(row[5], row[8], row[11]) for row in final.all("OBX") if row[5].startswith("Differs")]
    assert flagged == [(flag, "A", "F")]
    assert "Differs" not in preliminary.text


def test_a_preliminary_never_overtakes_the_final() -> None:
    """RST-11: whatever happens to the P, the F of the same exam waits behind it."""
    endpoint = partner(facts="results", profile=QUIET)
    report = make_report(make_exam(placed(), completed=True))
    release(report)
    sign(report)
    results()
    preliminary, final = OutboundMessage.objects.filter(endpoint=endpoint).order_by("pk")
    assert preliminary.key == final.key
    due = engine.next_due(endpoint.pk, at=timezone.now())
    assert due == preliminary
    OutboundMessage.objects.filter(pk=preliminary.pk).update(status="held")
    assert engine.next_due(endpoint.pk, at=timezone.now()) is None


def test_the_wrong_patient_hears_w_and_the_right_one_f() -> None:
    """RES-29, SCN-18: none of the other person's words go to the wrong record again."""
    partner(facts="results", profile={})
    wrong = make_exam(placed(patient=make_patient("Wrong", mrn="1")), completed=True)
    right = make_exam(
        placed(patient=make_patient("Right", mrn="2"), placer_order_number="B2"), completed=True
    )
    report = make_report(wrong, signed=True, impression="Fracture of the wrist.")
    sign(reporting.move_report(report, right, by=person("rita")))
    first, taken_back, moved = results()
    assert [statuses(one) for one in (first, taken_back, moved)] == [("F", "F"), ("X", "W"), ("F", "F")]
    assert [one.field("PID", 5).split("^")[0] for one in (first, taken_back, moved)] == [
        "Wrong",
        "Wrong",
        "Right",
    ]
    assert (taken_back.field("OBR", 2), moved.field("OBR", 2)) == ("A131Z^MESA_ORDPLC", "B2^MESA_ORDPLC")
    assert "Fracture" not in taken_back.text
    assert "Wrong patient." in taken_back.text
    assert "Fracture of the wrist." in moved.text


def together() -> tuple[Order, Order]:
    patient = make_patient()
    first, second = placed(patient=patient), _of_the_neck(patient)
    report = make_report(make_exam(first, completed=True))
    reporting.add_exam(report, make_exam(second, completed=True), by=person("rita"))
    sign(report)
    return first, second


def _of_the_neck(patient: Patient) -> Order:
    return make_order(
        patient, placer_order_number="B7", placer_authority="MESA_ORDPLC", source="ordering",
        procedure_type=make_procedure_type("CTNECK", name="CT neck"),
    )  # fmt: skip


def test_two_orders_read_as_one_get_a_final_each() -> None:
    """RES-28: a message for each order, or one message with an OBR for each."""
    partner("each", facts="results", profile=QUIET, hl7_version="2.5.1")
    partner("one", facts="results", profile={**QUIET, "grouped": "one"}, hl7_version="2.5.1")
    first, second = together()
    each = results("each")
    assert [(one.field("OBR", 18), one.field("OBR", 25)) for one in each] == [
        (first.accession_number, "F"), (second.accession_number, "F"),
    ]  # fmt: skip
    assert all("No acute finding." in one.text for one in each)
    (one,) = results("one")
    rows = one.all("OBR")
    assert [(row[1], row[2], row[18], row[25]) for row in rows] == [
        ("1", "A131Z^MESA_ORDPLC", first.accession_number, "F"), ("2", "B7^MESA_ORDPLC", second.accession_number, "F"),
    ]  # fmt: skip
    assert rows[1][29] == f"A131Z&MESA_ORDPLC^{first.accession_number}&LIGHTBOX"
    assert rows[1][26] == "19005-8&Impression&LN^1"
    assert one.text.count("No acute finding.") == 1
    assert len(one.all("ORC")) == len(one.all("TQ1")) == 2


def test_an_order_of_two_exams_is_partial_until_both_are_read() -> None:
    """RST-03: by profile; else each exam of it is final in itself."""
    partner("site", facts="results", profile={**QUIET, "partial": "yes"})
    partner("plain", facts="results", profile=QUIET)
    order = placed()
    RequestedProcedure.objects.create(
        order=order, number=2, procedure_type=make_procedure_type("CTNECK", name="CT neck"), code="CTNECK",
        code_text="CT neck", code_scheme="L", study_instance_uid="1.2.3.4.5", requested_procedure_id="X-2",
    )  # fmt: skip
    started = exams.start_exam(order, by=person("theo"), room=None)
    for exam in started:
        exams.complete_exam(exam, by=person("theo"))
    results("site")
    heard: list[Entry] = []
    for exam in started:
        make_report(Exam.objects.get(pk=exam.pk), signed=True)
        heard += results("site")[len(heard) :]
    assert [(one.field("OBR", 4).split("^")[0], *statuses(one)) for one in heard] == [
        ("CTHEAD", "R", "F"), ("CTNECK", "F", "F"), ("CTHEAD", "F", "F"),
    ]  # fmt: skip
    assert [statuses(one) for one in results("plain")] == [("F", "F"), ("F", "F")]


LONG = "\n".join(f"Line {number}: nodule | of ^ 3 mm & more, unchanged." for number in range(1, 1600))


@pytest.mark.parametrize(
    ("how", "types", "count"), [("ft", "FT", 3), ("tx", "TX", 1599), ("rep", "TX", 3)]
)  # fmt: skip
def test_no_line_is_lost_whatever_the_partner_takes(how: str, types: str, count: int) -> None:
    """RES-14, RES-15, RES-17, RES-18: in order, no OBX-5 too long, OBX-4 tells the pieces apart."""
    partner(facts="results", profile={**QUIET, "text": how}, hl7_version="2.5.1")
    report = make_report(make_exam(placed(), completed=True))
    sign(write(report, ("59776-5", "Findings", LONG), ("19005-8", "Impression", "Nodules.")))
    (message,) = results()
    rows = [row for row in message.all("OBX") if row[3].startswith("59776-5")]
    assert [int(row[1]) for row in rows] == list(range(2, len(rows) + 2))
    assert {row[2] for row in rows} == {types}
    assert len(rows) == count
    assert max(len(row[5]) for row in rows) <= 32000
    assert [row[4] for row in rows] == [f"1.{number}" for number in range(1, len(rows) + 1)]
    lines = [line for row in rows for value in row[5].split("~") for line in decode(value).split("\n")]
    assert lines == LONG.split("\n")
    assert ReportPart.objects.get().sections[0]["text"] == LONG  # DEL-01: what is stored is what was sent


def test_a_line_longer_than_the_limit_is_cut_at_a_word() -> None:
    """RES-18."""
    line = "word|^&~ " * 900
    pieces = split(f"before\n{line}\nafter", 4000)
    assert "".join(pieces).replace("\n", "") == f"before{line}after"
    assert all(len(piece) <= 4000 for piece in pieces)
    assert split("short", 4000) == ["short"]
    assert "".join(split("x" * 9001, 4000)) == "x" * 9001


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("loinc", ["59776-5^Findings^LN/1", "73568-8^Critical results^LN/1", "73569-6^Exposure^LN/1",
                   "29549-3^Contrast^LN/1", "19005-8^Impression^LN/1", "18783-1^Recommendation^LN/1"]),
        ("suffix", ["CTHEAD&GDT^Findings^L/1", "CTHEAD&GDT^Critical results^L/2", "CTHEAD&GDT^Exposure^L/3",
                    "CTHEAD&GDT^Contrast^L/4", "CTHEAD&IMP^Impression^L/1", "CTHEAD&REC^Recommendation^L/1"]),
        ("sr", [f"^SR Text/{number}" for number in range(1, 7)]),
    ],
)  # fmt: skip
def test_sections_are_named_as_the_partner_knows_them(codes: str, expected: list[str]) -> None:
    """RES-16, RES-17, RES-23, RES-31, RES-32: whatever headings a template has go out under their codes."""
    partner(facts="results", profile={**QUIET, "section_codes": codes, "text": "tx"})
    report = make_report(make_exam(placed(), completed=True))
    sign(
        write(
            report, ("59776-5", "Findings", "Bleed."), ("73568-8", "Critical results", "Dr Ho, 10:02, read back."),
            ("73569-6", "Exposure", "CTDIvol 42 mGy"), ("29549-3", "Contrast", "90 mL"),
            (*IMPRESSION, "Bleed."), ("18783-1", "Recommendation", "MR."),
        )
    )  # fmt: skip
    (message,) = results()
    assert [f"{row[3]}/{row[4]}" for row in message.all("OBX")[1:]] == expected


@pytest.mark.parametrize(
    ("finding", "flag", "category"),
    [("none", "N", "RID50261"), ("cat3", "A", "RID49482"), ("cat2", "AA", "RID49481"), ("cat1", "AA", "RID49480"),
     ("", "", "")],
)  # fmt: skip
def test_what_has_to_be_acted_on_is_flagged(finding: str, flag: str, category: str) -> None:
    """RES-19, RES-20: on the impression; OBX-17 is another field before 2.5."""
    partner("new", facts="results", profile=QUIET, hl7_version="2.5.1")
    partner("old", facts="results", profile=QUIET)
    report = make_report(make_exam(placed(), completed=True))
    draft = Draft.objects.get(report=report)
    reporting.save_draft(report, draft.sections, version=draft.version, finding=finding, by=person("rita"))
    sign(report)
    for name, coded in (("new", category), ("old", "")):
        (message,) = results(name)
        (row,) = [[*row, *[""] * 9] for row in message.all("OBX") if row[3].startswith("19005-8")]
        assert (row[8], row[17].split("^")[0]) == (flag, coded)
        assert not any(row[8] for row in message.all("OBX") if row[3].startswith("59776-5"))


def test_the_images_and_the_seal_go_along_where_they_are_asked_for() -> None:
    """RES-26."""
    link = "https://pacs.example/view?study={study_uid}&acc={accession}"
    partner("rp", facts="results", profile={**QUIET, "image_link": link, "digest": "yes"})
    partner("st", facts="results", profile={**QUIET, "image_link": link, "image_link_as": "st"})
    order = placed()
    make_report(make_exam(order, completed=True), signed=True)
    address = link.format(
        study_uid=order.procedures.get().study_instance_uid, accession=order.accession_number
    )
    (pointer,), (plain,) = results("rp"), results("st")
    escaped = address.replace("&", "\\T\\")
    assert ("RP", "^Images", f"{escaped}^LIGHTBOX^IM^DICOM", "F") in observations(pointer)
    assert ("ST", "^Images", escaped, "F") in observations(plain)
    assert ReportPart.objects.get().digest in pointer.text
    assert ReportPart.objects.get().digest not in plain.text


def test_a_result_waits_until_the_placer_has_numbered_the_order() -> None:
    """RES-30: then everything released so far is told in its order; what was taken back meanwhile is not."""
    partner(facts="results", profile={**QUIET, "result_needs_placer": "yes"})
    partner("other", facts="results", profile=QUIET)
    order, gone = placed(placer_order_number=""), placed(placer_order_number="")
    report = make_report(make_exam(order, completed=True))
    release(report)
    sign(report)
    withdrawn = make_report(make_exam(gone, completed=True), signed=True)
    reporting.withdraw_report(withdrawn, "wrong_exam", by=person("rita"))
    assert results() == []
    assert len(results("other")) == 4
    for one, number in ((order, "N1"), (gone, "N2")):
        assign_placer_number(one, number, "MESA_ORDPLC", source="ordering", by=person("clara"))
    messages = results()
    assert [statuses(one) for one in messages] == [("P", "P"), ("F", "F")]
    assert {one.field("OBR", 2) for one in messages} == {"N1^MESA_ORDPLC"}


def test_every_field_of_a_result_says_what_the_record_says() -> None:
    """RES-01 to RES-13, DEL-03, RES-22, RES-23, RES-27: the forms of 2.3.1 (RAD-28) and 2.5.1 (RAD-128)."""
    partner("new", facts="results", hl7_version="2.5.1", profile={**QUIET, "timezone": "UTC"})
    partner("old", facts="results", profile={**QUIET, "interpreter": "xcn", "timezone": "UTC"})
    copies = [make_practitioner("Gruber"), make_practitioner("Ho")]
    order = placed(patient=make_patient("Núñez", "José", mrn="88"), copies_to=copies)
    exam = make_exam(order, completed=True)
    rene, rita = person("rene"), person("rita")
    report = reporting.open_report(exam, by=rene)
    words: list[Section] = [{"code": "19005-8", "title": "Impression", "text": "Bleed."}]
    draft = reporting.save_draft(report, words, version=1, by=rene)
    reporting.release_lease(report, by=rene)
    part = reporting.sign_report(report, version=draft.version, by=rita)
    (modern,), (old,) = results("new"), results("old")
    procedure, stamp = order.procedures.get(), "%Y%m%d%H%M%S"
    started, ended, signed = (
        one.strftime(stamp) for one in (exam.started_at, exam.ended_at, part.released_at) if one
    )
    shared = {
        "ORC-1": "RE", "ORC-5": "CM", "OBR-2": "A131Z^MESA_ORDPLC", "OBR-3": f"{order.accession_number}^LIGHTBOX",
        "OBR-4": "CTHEAD^CT head^L", "OBR-44": "CTHEAD^CT head^L", "OBR-18": order.accession_number,
        "OBR-19": procedure.requested_procedure_id, "OBR-24": "CT", "OBR-25": "F",
        "OBR-28": "GRUBER^Gruber^Maja^^^Dr~HO^Ho^Maja^^^Dr", "OBR-31": "^Right upper quadrant pain",
    }  # fmt: skip
    zone = "+0000"
    forms = (
        (modern, {
            "MSH-9": "ORU^R01^ORU_R01", "MSH-12": "2.5.1", "MSH-18": "UNICODE UTF-8", "PV1-51": "V",
            "OBR-7": started + zone, "OBR-8": ended + zone, "OBR-22": signed + zone, "TQ1-7": started + zone,
            "OBR-16": "LINDGREN^Lindgren^Maja^^^Dr^^^HARBOUR", "OBR-32": "rita&Radiologist&Rita",
            "OBR-33": "rene&Resident&Rene", "OBR-34": "theo&Technologist&Theo",
            "OBR-28": "GRUBER^Gruber^Maja^^^Dr^^^HARBOUR~HO^Ho^Maja^^^Dr^^^HARBOUR",
            "OBR-5": "", "OBR-6": "", "OBR-12": "", "OBR-14": "", "OBR-15": "", "OBR-27": "",
            "OBX-2": "ST", "OBX-3": "113014^DICOM Study^DCM", "OBX-5": procedure.study_instance_uid, "OBX-11": "O",
        }),
        (old, {
            "MSH-9": "ORU^R01", "MSH-12": "2.3.1", "OBR-7": started, "OBR-22": signed,
            "OBR-16": "LINDGREN^Lindgren^Maja^^^Dr", "OBR-27": f"1^once^^{started}^^S",
            "OBR-32": "rita^Radiologist^Rita", "OBR-33": "rene^Resident^Rene", "TQ1-7": "",
            "OBX-2": "HD", "OBX-3": "^Study Instance UID", "OBX-5": procedure.study_instance_uid, "OBX-11": "F",
        }),
    )  # fmt: skip
    for message, own in forms:
        for place, value in {**shared, **own}.items():
            segment, field = place.split("-")
            assert message.field(segment, int(field)) == value, (message.field("MSH", 12), place)
    assert [line[:3] for line in modern.lines if line] == [
        "MSH",
        "PID",
        "PV1",
        "ORC",
        "OBR",
        "TQ1",
        "OBX",
        "OBX",
    ]
    assert {row[14] for row in modern.all("OBX")} == {started + zone}
    assert {row[16].split("^")[0] for row in modern.all("OBX")} == {"rita"}


def test_who_gets_a_copy_is_kept_with_the_order_and_told_with_the_result() -> None:
    """RES-05, DEL-03: OBR-28 of the order comes back in OBR-28 of the result."""
    sender()
    partner(facts="results", profile=QUIET)
    blank = [""] * 11
    request = [
        "OBR",
        "1",
        "A1^EMR",
        "",
        "CTHEAD^CT head^L",
        *blank,
        "7101^ESTRADA^JAIME",
        *blank,
        "77^Gruber^Anna~78^Ho",
    ]
    assert said(send(new(obr="|".join(request)))).startswith("AA")
    make_report(make_exam(the_order(), completed=True), signed=True)
    (message,) = results()
    assert [one.split("^")[:2] for one in message.field("OBR", 28).split("~")] == [
        ["77", "Gruber"],
        ["78", "Ho"],
    ]


# Others' messages and judges


def filled(rows: Sequence[Sequence[str]]) -> set[int]:
    return {position for row in rows for position, value in enumerate(row) if position and value}


@pytest.mark.parametrize(
    ("sample", "stage"), [("23-ORU_R01-P", "P"), ("24-ORU_R01-F", "F"), ("25-ORU_R01-C", "C")]
)
def test_our_results_say_what_another_systems_say(sample: str, stage: str) -> None:
    """RES-01, RES-02, SCN-17: every field that the sample fills is filled, and the codes are the same."""
    path = DATA / "hl7-samples" / f"{sample}.hl7"
    if not path.exists():
        pytest.skip("no sample messages beside the repository")
    theirs = Entry("", "", path.read_bytes().decode("latin-1"), "", 0, 0)
    partner(
        facts="results", hl7_version="2.5.1", receiving_application="V2FHIR", receiving_facility="BRIDGE",
        profile={**QUIET, "section_codes": "suffix", "text": "tx"},
    )  # fmt: skip
    report = make_report(make_exam(placed(), completed=True))
    release(report)
    sign(report)
    reporting.begin_correction(report, by=person("rita"))
    sign(report)
    ours = next(one for one in results() if one.field("OBR", 25) == stage)
    assert ours.field("MSH", 9) == theirs.field("MSH", 9) == "ORU^R01^ORU_R01"
    for segment in ("ORC", "OBR", "OBX"):
        assert filled(theirs.all(segment)) - filled(ours.all(segment)) == set(), segment
    for field in (25, 24):
        assert ours.field("OBR", field) == theirs.field("OBR", field)
    assert {row[11] for row in ours.all("OBX") if row[2] == "TX"} == {row[11] for row in theirs.all("OBX")}
    # RES-10, NDL: the name in subcomponents.
    assert "&" in ours.field("OBR", 32)
    assert "&" in theirs.field("OBR", 32)


def test_the_mesa_comparison_of_rad_28_finds_the_same_values() -> None:
    """ORA-10: PID-3, PID-5; OBR-2, 3, 4; OBX-2, 3, 5, 11 are those of the record."""
    path = DATA / "hl7-samples" / "mesa-field-checks.json"
    if not path.exists():
        pytest.skip("no sample messages beside the repository")
    compared: Mapping[str, list[str]] = json.loads(path.read_text())["checks"]["rpt_mgr/oru_r01_compare.ini"][
        "segments"
    ]
    partner(facts="results", profile={**QUIET, "text": "tx", "section_codes": "sr"})
    order = placed()
    make_report(make_exam(order, completed=True), signed=True)
    (message,) = results()
    uid = order.procedures.get().study_instance_uid
    expected = {
        "PID-3": f"{order.patient.mrn}^^^HARBOUR^MR", "PID-5": "Okafor^Adaeze", "OBR-2": "A131Z^MESA_ORDPLC",
        "OBR-3": f"{order.accession_number}^LIGHTBOX", "OBR-4": "CTHEAD^CT head^L", "OBX-2": "HD",
        "OBX-3": "^Study Instance UID", "OBX-5": uid, "OBX-11": "F", "MSH-1": "^~\\&", "MSH-2": "^~\\&",
        "MSH-9": "ORU^R01", "MSH-11": "P", "MSH-12": "2.3.1",
    }  # fmt: skip
    for segment, fields in compared.items():
        for field in fields:
            if (segment, field) != ("MSH", "1"):
                assert message.field(segment, int(field)) == expected[f"{segment}-{field}"], (segment, field)
    assert {row[3] for row in message.all("OBX")} == {"^Study Instance UID", "^SR Text"}
