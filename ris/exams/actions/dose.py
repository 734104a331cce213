"""The dose of an exam, from whoever tells it."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, MissingData
from ris.events.outbox import record
from ris.exams.models import Dose, Exam, PerformedProcedureStep
from ris.exams.models_dose import QUANTITIES, DoseSource

#: More than this no machine gives; a number beyond it has the wrong unit.
_LIMIT = Decimal(10**6)


@transaction.atomic
def note_dose(
    exam: Exam, *, source: str, by: User, ctdivol_mgy: Decimal | None = None, dlp_mgycm: Decimal | None = None,
    dap_gycm2: Decimal | None = None, reference_point_mgy: Decimal | None = None,
    fluoroscopy_seconds: int | None = None, exposures: int | None = None, instance_uid: str = "",
    performed_step: PerformedProcedureStep | None = None, device_uid: str = "", at: datetime | None = None,
) -> Dose:  # fmt: skip
    """Keep what one source says of an exam's dose; said again it takes the place of what was said before.

    `instance_uid` is the dose report's, or the performed step's. Raises MissingData without any quantity,
    BadValue for a source nobody knows and for what cannot be.
    """
    require(by, "exam.perform")
    if source not in DoseSource.values:
        raise BadValue(f"{source!r} is no source of a dose.", location="source")
    told: dict[str, Decimal | int | None] = {
        "ctdivol_mgy": ctdivol_mgy, "dlp_mgycm": dlp_mgycm, "dap_gycm2": dap_gycm2,
        "reference_point_mgy": reference_point_mgy, "fluoroscopy_seconds": fluoroscopy_seconds, "exposures": exposures,
    }  # fmt: skip
    if all(value is None for value in told.values()):
        raise MissingData("Type at least one value of the dose.", location="dlp_mgycm")
    for column, value in told.items():
        if value is not None and not 0 <= value <= _LIMIT:
            unit = QUANTITIES[column] or "times"
            raise BadValue(f"{value} {unit} cannot be. Check the unit.", location=column)
    dose, _ = Dose.objects.update_or_create(
        exam=exam, source=source, instance_uid=instance_uid[:64],
        defaults={
            **told, "performed_step": performed_step, "device_uid": device_uid[:64], "recorded_by": by,
            "recorded_at": at or timezone.now(),
        },
    )  # fmt: skip
    order = exam.order
    record(
        "exam.dose_noted", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        dose=dose.pk, source=source,
    )  # fmt: skip
    return dose
