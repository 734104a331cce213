"""The life of a report. In brackets OBR-25 (HL7 table 0123)."""

from django.db import models

from ris.core.flow import Flow


class ReportStatus(models.TextChoices):
    DRAFT = "draft", "Reading"  # nothing leaves
    PRELIMINARY = "preliminary", "Preliminary"  # P
    FINAL = "final", "Final"  # F
    ADDENDED = "addended", "Addended"  # C, full text resent
    CORRECTED = "corrected", "Corrected"  # C


R = ReportStatus

REPORT_FLOW = Flow(
    {
        R.DRAFT: frozenset({R.PRELIMINARY, R.FINAL}),
        R.PRELIMINARY: frozenset({R.FINAL}),
        R.FINAL: frozenset({R.ADDENDED, R.CORRECTED}),
        R.ADDENDED: frozenset({R.CORRECTED}),
        R.CORRECTED: frozenset({R.ADDENDED}),
    }
)

#: Those with a signature.
SIGNED = [R.FINAL, R.ADDENDED, R.CORRECTED]


class PartKind(models.TextChoices):
    PRELIMINARY = "preliminary", "Preliminary"
    FINAL = "final", "Final"
    ADDENDUM = "addendum", "Addendum"
    CORRECTION = "correction", "Correction"
