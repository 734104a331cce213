"""What a signature stands for: the text bound to its patient, exams, signer and time."""

import hashlib
import json
from collections.abc import Sequence

from ris.exams.models import Exam
from ris.reporting.models import Report, ReportPart
from ris.reporting.states import TAKING_BACK, PartKind


def canonical(part: ReportPart, exams: Sequence[Exam] | None = None) -> bytes:
    """The part as bytes that any change to text, patient, exam, signer or time would alter.

    `exams` are those the report reads, by their ids, where the caller has them at hand.
    """
    if exams is None:
        exams = [one.exam for one in part.report.reported.select_related("exam__order").order_by("exam_id")]
    owner = part.patient_id
    said = {
        "accession_numbers": [exam.order.accession_number for exam in exams],
        "patient": sorted({owner if owner is not None else exam.order.patient_id for exam in exams}),
        "number": part.number,
        "kind": part.kind,
        "sections": part.sections,
        "signed_by": part.signed_by_id,
        "signed_name": part.signed_name,
        "released_at": part.released_at.isoformat(),
    }
    if part.finding:
        said["finding"] = part.finding
    return json.dumps(
        said,
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def digest(part: ReportPart, exams: Sequence[Exam] | None = None) -> str:
    return hashlib.sha256(canonical(part, exams)).hexdigest()


def is_whole(part: ReportPart) -> bool:
    """Whether the part is still what was signed."""
    return digest(part) == part.digest


def current_parts(report: Report, upto: int | None = None) -> list[ReportPart]:
    """The parts that make up the report as it reads now, or as it read with part number `upto`.

    The newest full text, then the addenda since. Of a report that was taken back: the part that did so, then
    the text it took back.
    """
    parts = [part for part in report.parts.all() if upto is None or part.number <= upto]
    if parts and parts[-1].kind in TAKING_BACK:
        return [parts[-1], *_text(parts[:-1])]
    return _text(parts)


def _text(parts: list[ReportPart]) -> list[ReportPart]:
    full = [part for part in parts if part.kind != PartKind.ADDENDUM]
    if not full:
        return []
    base = full[-1]
    return [base, *(part for part in parts if part.kind == PartKind.ADDENDUM and part.number > base.number)]
