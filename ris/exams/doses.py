"""An exam's dose as it counts, made of what its sources told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ris.exams.models import Dose, Exam
from ris.exams.models_dose import QUANTITIES, DoseSource


@dataclass(frozen=True)
class ExamDose:
    """The quantities of the source that counts; None where it said nothing of them."""

    source: str
    ctdivol_mgy: Decimal | None
    dlp_mgycm: Decimal | None
    dap_gycm2: Decimal | None
    reference_point_mgy: Decimal | None
    fluoroscopy_seconds: int | None
    exposures: int | None

    @property
    def source_words(self) -> str:
        return str(DoseSource(self.source).label)


#: The CTDIvol of two acquisitions is not their sum; everything else adds up.
_TOGETHER: dict[str, Callable[[Iterable[Any]], Any]] = {"ctdivol_mgy": max}


def dose_of(exam: Exam) -> ExamDose | None:
    """A dose report counts before the modality's own word, and that before what was typed. None: nobody told."""
    told = list(exam.doses.all())
    for source in DoseSource.values:
        of_source: list[Dose] = [dose for dose in told if dose.source == source]
        if of_source:
            values: dict[str, Any] = {}
            for column in QUANTITIES:
                said = [value for dose in of_source if (value := getattr(dose, column)) is not None]
                values[column] = _TOGETHER.get(column, sum)(said) if said else None
            return ExamDose(source=source, **values)
    return None
