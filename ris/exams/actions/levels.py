"""The reference levels doses are compared with."""

from django.db import transaction

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.events.outbox import record
from ris.exams.models_levels import DoseReferenceLevel


@transaction.atomic
def save_level(level: DoseReferenceLevel, *, by: User) -> DoseReferenceLevel:
    """Keep a level that a validated form holds."""
    require(by, "department.change")
    created = level.pk is None
    level.full_clean()
    level.save()
    record(
        f"dose_level.{'added' if created else 'changed'}", f"dose_level:{level.pk}", by=by, dose_level=level.pk
    )  # fmt: skip
    return level
