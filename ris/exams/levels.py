"""A dose beside its reference level, in words; the exams above theirs; repeats by reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet
from django.utils import timezone

from ris.core.formats import local
from ris.department.models import ProcedureType
from ris.exams.doses import ExamDose, dose_of
from ris.exams.models import DoseReferenceLevel, Exam, ExamEvent
from ris.exams.models_dose import QUANTITIES
from ris.exams.models_levels import DoseQuantity
from ris.exams.states import EventKind, ExamStatus, RepeatReason

#: The quantities a dose is written with, in this order, and their names.
_NAMES = {
    "ctdivol_mgy": "CTDIvol", "dlp_mgycm": "DLP", "dap_gycm2": "DAP", "reference_point_mgy": "Entrance dose",
    "fluoroscopy_seconds": "Fluoroscopy", "exposures": "Exposures",
}  # fmt: skip
#: What is typed where no machine tells it.
TYPED = {
    "CT": ("ctdivol_mgy", "dlp_mgycm"),
    "DX": ("dap_gycm2", "exposures"),
    "CR": ("dap_gycm2", "exposures"),
    "MG": ("reference_point_mgy", "exposures"),
    "RF": ("dap_gycm2", "reference_point_mgy", "fluoroscopy_seconds"),
    "XA": ("dap_gycm2", "reference_point_mgy", "fluoroscopy_seconds"),
}


@dataclass(frozen=True)
class DoseLine:
    """One quantity of a dose, with the level it is compared with where there is one."""

    name: str
    value: str
    level: DoseReferenceLevel | None = None
    over: bool = False
    sentence: str = ""


def name_of(quantity: str) -> str:
    return _NAMES[quantity]


def levels_in_force(on: date | None = None) -> list[DoseReferenceLevel]:
    """The newest of each that is valid on the day."""
    day = on or local(timezone.now()).date()
    found: dict[tuple[object, ...], DoseReferenceLevel] = {}
    rows = DoseReferenceLevel.objects.filter(active=True, valid_from__lte=day).select_related(
        "procedure_type"
    )
    for one in rows.order_by("-valid_from", "-pk"):
        found.setdefault((one.procedure_type_id, one.modality, one.body_part.casefold(), one.quantity), one)
    return list(found.values())


def level_for(
    kind: ProcedureType, quantity: str, levels: Iterable[DoseReferenceLevel]
) -> DoseReferenceLevel | None:
    """That of the exam itself, else of its body part on its modality, else of the modality."""
    ranked = {}
    for one in levels:
        if one.quantity != quantity:
            continue
        if one.procedure_type_id == kind.pk:
            ranked[0] = one
        elif one.modality == kind.modality and one.body_part.casefold() == kind.body_part.casefold():
            ranked[1] = one
        elif one.modality == kind.modality and not one.body_part:
            ranked[2] = one
    return ranked[min(ranked)] if ranked else None


def _written(value: Decimal | int) -> str:
    return f"{Decimal(value).quantize(Decimal('0.01')).normalize():f}"


def compare(
    kind: ProcedureType | None, dose: ExamDose, levels: Iterable[DoseReferenceLevel] | None = None
) -> list[DoseLine]:
    """The dose line by line; "DLP 398 mGy·cm is 63 % of the level of 635 (BfS 2022)"."""
    known = list(levels_in_force() if levels is None else levels)
    lines = []
    for quantity, name in _NAMES.items():
        value = getattr(dose, quantity)
        if value is None:
            continue
        words = f"{_written(value)} {QUANTITIES[quantity]}".strip()
        level = level_for(kind, quantity, known) if kind and quantity in DoseQuantity.values else None
        if level is None:
            lines.append(DoseLine(name, words))
            continue
        share = round(value / level.value * 100)
        over = value > level.value
        limit = f"{_written(level.value)} {level.unit} ({level.source})"
        words_of_level = (
            f"Above the level of {limit}: {share} %." if over else f"{share} % of the level of {limit}."
        )
        lines.append(DoseLine(name, words, level, over, words_of_level))
    return lines


@dataclass(frozen=True)
class OverLevel:
    exam: Exam
    lines: list[DoseLine]


def exams_over_level(days: int = 30, limit: int = 100) -> list[OverLevel]:
    """The exams whose dose is above their level, newest first. A level is for the many: one exam above it is
    looked at, not blamed."""
    levels = levels_in_force()
    exams: QuerySet[Exam] = (
        Exam.objects.filter(doses__recorded_at__gte=timezone.now() - timedelta(days=days))
        .exclude(status=ExamStatus.ENTERED_IN_ERROR)
        .select_related("order__patient", "procedure__procedure_type", "room", "technologist")
        .prefetch_related("doses", "order__patient__identifiers")
        .order_by("-started_at")
        .distinct()
    )
    found = []
    for exam in exams.iterator(chunk_size=500):
        dose = dose_of(exam)
        over = (
            [line for line in compare(exam.procedure.procedure_type, dose, levels) if line.over]
            if dose
            else []
        )
        if over:
            found.append(OverLevel(exam, over))
        if len(found) == limit:
            break
    return found


@dataclass(frozen=True)
class Repeats:
    """Images made again and thrown away, of a time: by reason, and by who made them."""

    reasons: list[tuple[str, int, int]]
    people: list[tuple[str, int, int]]
    repeated: int
    rejected: int


def repeats(since: datetime) -> Repeats:
    events = (
        ExamEvent.objects.filter(
            kind__in=[EventKind.REPEATED, EventKind.REJECTED], at__gte=since, withdrawal=None
        )
        .select_related("by")
        .order_by("pk")
    )
    reasons: Counter[tuple[str, str]] = Counter()
    people: Counter[tuple[str, str]] = Counter()
    for one in events:
        reasons[one.reason, one.kind] += one.image_count or 0
        people[str(one.by), one.kind] += one.image_count or 0

    def table(counts: Counter[tuple[str, str]]) -> list[tuple[str, int, int]]:
        names = {name for name, _ in counts}
        rows = [(name, counts[name, EventKind.REPEATED], counts[name, EventKind.REJECTED]) for name in names]
        return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))

    by_reason = [(str(RepeatReason(code).label), again, away) for code, again, away in table(reasons)]
    return Repeats(
        by_reason, table(people), sum(row[1] for row in by_reason), sum(row[2] for row in by_reason)
    )  # fmt: skip
