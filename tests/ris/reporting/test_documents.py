"""The report on paper."""

import io

import pytest
from pypdf import PdfReader

from ris.events.outbox import relay_all
from ris.reporting import actions as reporting
from ris.reporting.documents import pdf_for
from ris.reporting.models import Report, ReportDocument
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def _text(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def _addend(report: Report, words: str) -> Report:
    rita = person("rita")
    reporting.begin_addendum(report, by=rita)
    report = Report.objects.get(pk=report.pk)
    sections = [{**one, "text": words} for one in report.draft.sections]
    draft = reporting.save_draft(report, sections, version=report.draft.version, by=rita)
    reporting.sign_report(report, version=draft.version, by=rita)
    return Report.objects.get(pk=report.pk)


def test_the_document_says_whose_which_and_by_whom() -> None:
    report = makers.make_report(
        makers.make_exam(patient=makers.make_patient(mrn="004417268"), completed=True), signed=True
    )
    part = report.parts.get()
    text = _text(pdf_for(part))
    order = report.reported.get().exam.order
    for said in (
        "OKAFOR, Adaeze", "14 July 1968", "Female", "004 417 268", "Harbour Imaging", "CT head", "Final report",
        "FINDINGS", "Normal.", "No acute finding.", "Electronically signed by Rita Radiologist", part.digest[:16],
        "Page 1 of 1",
    ):  # fmt: skip
        assert said in text, said
    assert order.accession_number in text.replace("-", "").replace(" ", "")
    assert "Preliminary" not in text


def test_a_preliminary_document_says_so_across_the_page() -> None:
    report = makers.make_report()
    reporting.release_lease(report, by=person("rita"))
    part = reporting.make_preliminary(report, version=report.draft.version, by=person("rene"))
    text = _text(pdf_for(part))
    assert "Preliminary - not signed" in text
    assert "Preliminary report" in text
    assert "signed by" not in text


def test_addenda_follow_the_text_they_add_to_and_old_documents_stay() -> None:
    report = makers.make_report(signed=True)
    first = pdf_for(report.parts.get())
    report = _addend(report, "Compared with 2024.")
    report = _addend(report, "Told Dr Lindgren by phone.")
    text = _text(pdf_for(report.parts.last()))
    assert (
        text.index("No acute finding.") < text.index("Compared with 2024.") < text.index("Told Dr Lindgren")
    )
    assert "Final report, addended" in text
    assert pdf_for(report.parts.first()) == first
    assert "Compared" not in _text(first)


MARKUP = [
    '#import "/etc/passwd": * #panic("x") #set page(width: 1pt) $x^2$ *b* _i_ `c` <label> @ref \\ // c /* d */ {g}',
    "Größe 5 mm ≥ ≤ ± µ ½ → Łęk Žižka Ελληνικά Кириллица",
    "山田^太郎 中文 עברית العربية हिन्दी \U0001f642 \U000e0001 \ufeff\u202e\u0301 \ud7ff\ufffd\uffff",
    "= heading\n- item\n+ item\n/ term: x\n\n\n~ -- --- ... \"q\" 'q'",
    "tab\tand\x0bvertical\x0cfeed\x1b[31m\x7f",
    "long" * 400,
]


@pytest.mark.parametrize("words", MARKUP, ids=range(len(MARKUP)))
def test_whatever_is_written_is_only_text(words: str) -> None:
    report = makers.make_report(impression=words)
    part = reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    text = " ".join(_text(pdf_for(part)).split())
    assert "Electronically signed" in text
    if words.startswith(("#", "=")):
        assert words.split("\n")[0] in text


def test_every_page_of_a_long_report_names_the_patient() -> None:
    report = makers.make_report(impression="\n".join(f"{n}. Nodule of {n} mm." for n in range(1, 150)))
    part = reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    pages = PdfReader(io.BytesIO(pdf_for(part))).pages
    assert len(pages) > 2
    for number, page in enumerate(pages, 1):
        text = page.extract_text()
        assert "OKAFOR, Adaeze" in text
        assert "14 July 1968" in text
        assert f"Page {number} of {len(pages)}" in text


def test_a_released_text_gets_its_document_from_the_relay() -> None:
    report = makers.make_report(signed=True)
    relay_all()
    assert ReportDocument.objects.get(part=report.parts.get()).pdf
    relay_all()
    assert ReportDocument.objects.count() == 1
