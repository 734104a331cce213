"""The report as a document (conformance.md 8.4), and another parser's word on it."""

import base64

import pytest
from hl7apy.parser import parse_message

from ris.reporting import actions as reporting
from tests.cast import person
from tests.interfaces.hl7.samples import DATA
from tests.interfaces.hl7.test_results import a_whole_life, filled, release, results
from tests.interfaces.hl7.test_telling import partner, placed
from tests.makers import make_exam, make_report
from tests.peers.emr import Entry

pytestmark = pytest.mark.django_db


def test_a_document_begins_changes_ends_and_is_replaced() -> None:
    """MDM-01 to MDM-04: T02, T08, T04, T06, T10, T11; numbers, parents, status and availability."""
    partner(facts="results", hl7_version="2.5.1", profile={"results_as": "mdm", "pdf": "no"})
    exam = make_exam(placed(), completed=True)
    report = a_whole_life(exam)
    messages = results()
    number = f"{exam.order.accession_number}-{report.pk}"
    rows = [
        (one.field("EVN", 1), *(one.field("TXA", n).removesuffix("^LIGHTBOX") for n in (12, 13, 17, 19)))
        for one in messages
    ]
    assert rows == [
        ("T02", f"{number}-1", "", "PA", "AV"), ("T08", f"{number}-1", "", "PA", "AV"),
        ("T04", f"{number}-1", "", "LA", "AV"), ("T06", f"{number}-4", f"{number}-1", "LA", "AV"),
        ("T10", f"{number}-5", f"{number}-1", "LA", "AV"), ("T11", f"{number}-5", "", "LA", "CA"),
    ]  # fmt: skip
    assert [one.field("MSH", 9) for one in messages][::5] == ["MDM^T02^MDM_T02", "MDM^T11^MDM_T01"]
    final, cancelled = messages[2], messages[5]
    assert (final.field("TXA", 2), final.field("TXA", 3)) == ("DI", "FT")
    assert final.field("TXA", 9) == "rita^Radiologist^Rita"
    signed = final.field("TXA", 22).split("^")
    assert (signed[0], signed[14]) == ("rita", final.field("OBR", 22))
    assert messages[0].field("TXA", 22) == ""
    assert (final.field("TXA", 14), final.field("TXA", 15)) == (final.field("ORC", 2), final.field("ORC", 3))
    assert not cancelled.all("OBX")
    assert cancelled.field("TXA", 21).startswith("Entered in error")


def test_an_addendum_that_was_a_document_is_cancelled_too() -> None:
    partner(facts="results", profile={"results_as": "mdm", "pdf": "no"})
    rita = person("rita")
    report = make_report(make_exam(placed(), completed=True), signed=True)
    reporting.begin_addendum(report, by=rita)
    sections = [{"code": "55107-7", "title": "Addendum", "text": "More."}]
    draft = reporting.save_draft(report, sections, version=1, by=rita)  # type: ignore[arg-type]
    reporting.sign_report(report, version=draft.version, by=rita)
    reporting.withdraw_report(report, "wrong_exam", by=rita)
    messages = results()
    assert [one.field("EVN", 1) for one in messages] == ["T02", "T06", "T11", "T11"]
    assert [one.field("TXA", 12) for one in messages[:2]] == [one.field("TXA", 12) for one in messages[2:]]


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
def test_others_can_read_our_documents_and_results(version: str) -> None:
    """MDM-01, RES-24: beside the ORU where both are asked for; PDF as ED without a line end."""
    partner(
        facts="results",
        hl7_version=version,
        profile={"results_as": "both", "image_link": "https://v/{accession}"},
    )
    report = make_report(make_exam(placed(), completed=True))
    release(report)
    reporting.cancel_report(report, words="Wrong series", by=person("rita"))
    messages = results()
    assert [one.type for one in messages] == ["ORU^R01", "MDM^T02", "ORU^R01", "MDM^T11"]
    for message in messages:
        parsed = parse_message(message.raw.decode(), find_groups=False)
        assert [child.name for child in parsed.children] == [line[:3] for line in message.lines if line]
        if version == "2.5.1":
            # Its words on fields that it knows better than we do; the structure of groups it cannot judge.
            for child in parsed.children:
                child.validate()
    document = messages[1]
    (pdf,) = [row[5] for row in document.all("OBX") if row[2] == "ED"]
    assert base64.b64decode(pdf.split("^")[4], validate=True).startswith(b"%PDF-")
    assert document.field("TXA", 3) == "AP"
    assert document.field("TXA", 16).endswith(".pdf")
    assert bool(document.all("OBR")) == (version == "2.5.1")


def test_our_document_says_what_the_sample_says() -> None:
    """MDM-02: the fields of TXA that another system's document fills are filled, the parent when there is one."""
    path = DATA / "hl7-samples" / "21-MDM_T02-imaging-pdf.hl7"
    if not path.exists():
        pytest.skip("no sample messages beside the repository")
    theirs = Entry("", "", path.read_bytes().decode("latin-1"), "", 0, 0)
    partner(facts="results", hl7_version="2.5.1", profile={"results_as": "mdm"})
    make_report(make_exam(placed(), completed=True), signed=True)
    (ours,) = results()
    assert filled(theirs.all("TXA")) - filled(ours.all("TXA")) <= {13}
    names = [line[:3] for line in ours.lines if line]
    assert names[:8] == ["MSH", "EVN", "PID", "PV1", "ORC", "OBR", "TQ1", "TXA"]
    assert ours.field("TXA", 2) == theirs.field("TXA", 2) == "DI"
