"""The report on paper: a PDF made once for each released part (ux.md 2.12, Print/PDF)."""

import json
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import typst

from ris.core import faults, formats
from ris.reporting.actions import keep_document
from ris.reporting.models import ReportDocument, ReportPart
from ris.reporting.signing import current_parts
from ris.reporting.states import TAKING_BACK, PartKind, ReportStatus

_HERE = Path(__file__).parent
PAPER = "a4"


def pdf_for(part: ReportPart) -> bytes:
    """The report as it read when `part` was released: stored, or made now and stored."""
    known = ReportDocument.objects.filter(part=part).first()
    if known is None:
        pdf = _render(part)
        faults.point("mid_pdf")
        known = keep_document(part, pdf)
    return bytes(known.pdf)


def pdf_now(part: ReportPart) -> bytes:
    """The document for a person's hands today: what has been taken back says so across every page."""
    status = part.report.status
    return _render(part, mark=_MARKS[status]) if status in _MARKS else pdf_for(part)


_MARKS: dict[str, str] = {
    ReportStatus.CANCELLED: "CANCELLED - not valid",
    ReportStatus.WITHDRAWN: "WITHDRAWN - not valid",
}


@cache
def _fonts() -> Any:
    # Inter for the languages it covers; the system's fonts for the scripts it lacks.
    return typst.Fonts(font_paths=[str(_HERE / "fonts")])


def _render(part: ReportPart, mark: str = "") -> bytes:
    # The text goes in as JSON: markup in it is text (typst never evaluates strings).
    pdf: bytes = typst.compile(
        (_HERE / "report.typ").read_bytes(),
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(content(part, mark))},
        timestamp=int(part.released_at.timestamp()),
    )
    return pdf


_TITLES = {
    PartKind.PRELIMINARY: "Preliminary report",
    PartKind.FINAL: "Final report",
    PartKind.CORRECTION: "Corrected report",
    PartKind.CANCELLATION: "Cancelled report",
    PartKind.WITHDRAWAL: "Withdrawn report",
}


def content(part: ReportPart, mark: str = "") -> dict[str, Any]:
    """What the page says, in words; `mark` stands across it.

    The document of a part that takes back is the notice alone: it goes to those who have the text already.
    """
    exams = [
        one.exam
        for one in part.report.reported.select_related(
            "exam__order__patient", "exam__order__facility", "exam__order__ordering",
            "exam__procedure__procedure_type",
        )
        .prefetch_related("exam__order__patient__identifiers")
        .order_by("exam_id")
    ]  # fmt: skip
    order = exams[0].order
    patient, facility = order.patient, order.facility
    parts = [part] if part.kind in TAKING_BACK else current_parts(part.report, upto=part.number)
    if not mark and part.kind == PartKind.PRELIMINARY:
        mark = "Preliminary - not signed"
    elif not mark and part.kind in TAKING_BACK:
        mark = part.get_kind_display()
    return {
        "paper": PAPER,
        "title": _TITLES[PartKind(parts[0].kind)] + (", addended" if len(parts) > 1 else ""),
        "mark": mark,
        "facility": {
            "name": facility.name,
            "address": facility.address,
            "phone": formats.phone(facility.phone),
        },
        "patient": {
            "name": patient.name.display,
            "born": _long(patient.birth_date) or "not known",
            "sex": formats.SEXES.get(patient.sex, "Not known"),
            "mrn": formats.mrn(patient.mrn) or "not known",
        },
        "exams": [
            {
                "name": exam.procedure.label,
                "accession": formats.accession(exam.order.accession_number),
                "done": formats.moment(exam.started_at),
            }
            for exam in exams
        ],
        "referrer": order.ordering.name.display if order.ordering else "",
        "parts": [_part(one) for one in parts],
    }


def _part(part: ReportPart) -> dict[str, Any]:
    when = formats.moment(part.released_at)
    if part.kind == PartKind.PRELIMINARY:
        signature = f"Preliminary, not signed. Written by {part.author}, {when}."
    else:
        signature = f"Electronically signed by {part.signed_name}, {when}. Seal {part.digest[:16]}."
    return {
        "signature": signature,
        "sections": [
            {"title": one["title"], "lines": _lines(one["text"])}
            for one in part.sections
            if one["text"].strip()
        ],
    }


def _lines(text: str) -> list[str]:
    # Code points that no font can show and XMP refuses.
    return ["".join(ch for ch in line if ch == "\t" or ch.isprintable()) for line in text.split("\n")]


def _long(birth_date: str) -> str:
    """14 July 1968: on paper the month is a word; a partial date keeps its precision."""
    pattern = {10: "%d %B %Y", 7: "%B %Y", 4: "%Y"}.get(len(birth_date))
    if pattern is None:
        return ""
    day = date.fromisoformat(f"{birth_date}-01-01"[:10])
    return day.strftime(pattern).lstrip("0")
