"""The life of a report. In brackets OBR-25 (HL7 table 0123)."""

from django.db import models

from ris.core.flow import Flow


class ReportStatus(models.TextChoices):
    DRAFT = "draft", "Reading"  # nothing leaves
    PRELIMINARY = "preliminary", "Preliminary"  # P
    FINAL = "final", "Final"  # F
    ADDENDED = "addended", "Addended"  # C, full text resent
    CORRECTED = "corrected", "Corrected"  # C
    CANCELLED = "cancelled", "Cancelled"  # X
    WITHDRAWN = "withdrawn", "Withdrawn"  # X, with W in OBX-11 (table 0085)


R = ReportStatus

REPORT_FLOW = Flow(
    {
        R.DRAFT: frozenset({R.PRELIMINARY, R.FINAL, R.CANCELLED}),
        R.PRELIMINARY: frozenset({R.FINAL, R.CANCELLED}),
        R.FINAL: frozenset({R.ADDENDED, R.CORRECTED, R.WITHDRAWN}),
        R.ADDENDED: frozenset({R.CORRECTED, R.WITHDRAWN}),
        R.CORRECTED: frozenset({R.ADDENDED, R.WITHDRAWN}),
        R.CANCELLED: frozenset(),
        R.WITHDRAWN: frozenset(),
    }
)

#: Those with a signature.
SIGNED = [R.FINAL, R.ADDENDED, R.CORRECTED]

#: Those that no longer say anything about their exams; the exams are read anew.
ENDED = [R.CANCELLED, R.WITHDRAWN]


class PartKind(models.TextChoices):
    PRELIMINARY = "preliminary", "Preliminary"
    FINAL = "final", "Final"
    ADDENDUM = "addendum", "Addendum"
    CORRECTION = "correction", "Correction"
    CANCELLATION = "cancellation", "Cancellation"  # of a preliminary text
    WITHDRAWAL = "withdrawal", "Withdrawal"


#: Parts that take back what the parts before them said.
TAKING_BACK = [PartKind.CANCELLATION, PartKind.WITHDRAWAL]


class WithdrawalReason(models.TextChoices):
    WRONG_PATIENT = "wrong_patient", "Wrong patient"
    WRONG_EXAM = "wrong_exam", "Wrong exam"
    ENTERED_IN_ERROR = "entered_in_error", "Entered in error"


class Significance(models.TextChoices):
    """What it means for the patient that the signed text is not the preliminary one (conformance RST-08)."""

    UNRATED = "", "Not rated"
    WORDING = "wording", "Wording only"
    MINOR = "minor", "Minor: care stays the same"
    MAJOR = "major", "Major: care may change"


class Finding(models.TextChoices):
    """How soon somebody has to act on the report (RadLex categories of actionable findings, OBX-17)."""

    UNSAID = "", "Not stated"
    NONE = "none", "Nothing to act on"  # RID50261
    DAYS = "cat3", "Act within days"  # RID49482, category 3
    HOURS = "cat2", "Act within hours"  # RID49481, category 2
    MINUTES = "cat1", "Act within minutes"  # RID49480, category 1
