"""What a performed step says in its data set: series and images, codes, who did it, dose (PS3.3 C.4.13 to C.4.17).

Read from the DICOM JSON model that `PerformedProcedureStep.attributes` holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Q

from ris.accounts.models import User
from ris.department.models import ProcedureType
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.states import ExamStatus

_SERIES, _SERIES_UID, _IMAGES, _OTHERS, _INSTANCE = "00400340", "0020000E", "00081140", "00400220", "00081155"
_OPERATORS = "00081070"
_PERFORMED_CODES, _PERFORMED_PROTOCOL = "00081032", "00400260"


def items(model: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """The items of a sequence."""
    return [item for item in model.get(tag, {}).get("Value", []) if isinstance(item, dict)]


def text(model: dict[str, Any], tag: str) -> str:
    """The first value as text; of a name its alphabetic group."""
    first = next(iter(model.get(tag, {}).get("Value", [])), None)
    if isinstance(first, dict):
        first = first.get("Alphabetic")
    return "" if first is None else str(first).strip()


# Series and images


def instances(step: PerformedProcedureStep) -> dict[str, set[str]]:
    """Series Instance UID: SOP Instance UIDs. What has no UID is told apart by where it stands."""
    found: dict[str, set[str]] = {}
    for number, series in enumerate(items(step.attributes, _SERIES)):
        named = found.setdefault(text(series, _SERIES_UID) or f"{step.pk}#{number}", set())
        for sequence in (_IMAGES, _OTHERS):
            for position, one in enumerate(items(series, sequence)):
                named.add(text(one, _INSTANCE) or f"{step.pk}#{number}.{sequence}.{position}")
    return found


def counts(steps: Iterable[PerformedProcedureStep]) -> tuple[int, int] | None:
    """(series, images) of several steps together; None when no step has named a series."""
    together: dict[str, set[str]] = {}
    for step in steps:
        for uid, named in instances(step).items():
            together.setdefault(uid, set()).update(named)
    return (len(together), sum(map(len, together.values()))) if together else None


# Who


def operator(step: PerformedProcedureStep) -> User | None:
    """The user who is the step's Operators' Name (0008,1070), if one and only one bears it."""
    names = {text(one, _OPERATORS) for one in (step.attributes, *items(step.attributes, _SERIES))} - {""}
    if len(names) != 1:
        return None
    family, given = [*names.pop().split("^"), ""][:2]
    people = User.objects.filter(is_active=True).filter(
        Q(last_name__iexact=family, first_name__iexact=given)
        | Q(practitioner__family__iexact=family, practitioner__given__iexact=given)
    )
    found = list(people.distinct()[:2])
    return found[0] if len(found) == 1 else None


# What was done instead of what was planned (MPPS-17)


@dataclass(frozen=True)
class Code:
    value: str
    scheme: str
    meaning: str

    @property
    def words(self) -> str:
        return f"{self.meaning} ({self.value})" if self.meaning else self.value


@dataclass(frozen=True)
class PerformedDifference:
    """The modality names another procedure or protocol than the one that was planned."""

    planned: str
    performed: Code
    #: The exam of the catalogue with the performed code, when there is one of that machine's kind.
    procedure_type: ProcedureType | None


def performed_difference(exam: Exam) -> PerformedDifference | None:
    """Compare Procedure Code Sequence, else Performed Protocol Code Sequence, with what the exam is.

    None when they agree or say nothing. Of a group, a code that is another of its exams' counts for that one.
    """
    steps = list(exam.performed_steps.all())
    told = [
        code
        for step in steps
        for code in _codes(step.attributes, _PERFORMED_CODES) or _codes(step.attributes, _PERFORMED_PROTOCOL)
    ]
    if not told or exam.procedure.procedure_type is None or exam.status == ExamStatus.ENTERED_IN_ERROR:
        return None
    group = {exam.pk: exam} | {one.pk: one for one in Exam.objects.filter(performed_steps__in=steps)}
    expected = {pk: _planned_codes(one) for pk, one in group.items()}
    if any(code.value in expected[exam.pk] for code in told):
        return None
    others = set().union(*expected.values())
    other = next((code for code in told if code.value not in others), None)
    if other is None:
        return None
    known = ProcedureType.objects.filter(code=other.value, active=True).first()
    return PerformedDifference(exam.procedure.label, other, known)


def _planned_codes(exam: Exam) -> set[str]:
    procedure = exam.procedure
    own = {procedure.code} | ({procedure.procedure_type.code} if procedure.procedure_type else set())
    return own | set(procedure.steps.values_list("protocol_code", flat=True)) - {""}


def _codes(model: dict[str, Any], tag: str) -> list[Code]:
    found = [
        Code(text(one, "00080100"), text(one, "00080102"), text(one, "00080104")) for one in items(model, tag)
    ]
    return [code for code in found if code.value]


# Dose: the Radiation Dose module, retired in 2017 and still sent (PS3.3 2016 C.4.16)


def told_dose(step: PerformedProcedureStep) -> dict[str, Any]:
    """The arguments of `note_dose` that the step tells; empty when it tells none."""
    model = step.attributes
    area = _number(model, "0018115E")  # dGy·cm²
    entrance = _number(model, "00408302")  # mGy
    rounded = _number(model, "00400302")  # the same in whole dGy
    if entrance is None and rounded is not None:
        entrance = rounded * 100
    exposures = _number(model, "00400301")
    seconds = _number(model, "00400300")
    each = list(_each(items(model, "0040030E"), "00189345"))  # CTDIvol of an irradiation
    told = {
        "dap_gycm2": area / 10 if area is not None else None,
        "reference_point_mgy": entrance,
        "fluoroscopy_seconds": int(seconds) if seconds is not None else None,
        "exposures": int(exposures) if exposures is not None else None,
        "ctdivol_mgy": max(each) if each else None,
    }
    # A module that is sent but not measured holds zeros.
    return told if any(told.values()) else {}


def _each(found: Iterable[dict[str, Any]], tag: str) -> Iterator[Decimal]:
    for item in found:
        value = _number(item, tag)
        if value is not None:
            yield value


def _number(model: dict[str, Any], tag: str) -> Decimal | None:
    try:
        value = Decimal(text(model, tag))
    except InvalidOperation:
        return None
    return value if value.is_finite() and value >= 0 else None
