"""The life of an exam and of a performed procedure step."""

from django.db import models

from ris.core.flow import Flow
from ris.core.stopping import DISCONTINUATION_REASONS as DISCONTINUATION_REASONS
from ris.core.stopping import WRONG_ENTRY as WRONG_ENTRY


class ExamStatus(models.TextChoices):
    IN_PROGRESS = "in_progress", "Started"  # ORC-5 IP
    COMPLETED = "completed", "Completed"  # ORC-5 CM
    DISCONTINUED = "discontinued", "Discontinued"  # ORC-5 DC
    ENTERED_IN_ERROR = "entered_in_error", "Started by mistake"  # CID 9301 110514


E = ExamStatus

EXAM_FLOW = Flow(
    {
        E.IN_PROGRESS: frozenset({E.COMPLETED, E.DISCONTINUED, E.ENTERED_IN_ERROR}),
        # Back when it was ended by evidence and still goes on.
        E.COMPLETED: frozenset({E.IN_PROGRESS}),
        E.DISCONTINUED: frozenset(),
        E.ENTERED_IN_ERROR: frozenset(),
    }
)


class PerformedStepStatus(models.TextChoices):
    """Performed Procedure Step Status (0040,0252) in brackets; nothing leaves a final one (PS3.4 F.7.2.2.3)."""

    IN_PROGRESS = "in_progress", "In progress"  # IN PROGRESS
    COMPLETED = "completed", "Completed"  # COMPLETED
    DISCONTINUED = "discontinued", "Discontinued"  # DISCONTINUED


P = PerformedStepStatus

PERFORMED_STEP_FLOW = Flow(
    {
        P.IN_PROGRESS: frozenset({P.COMPLETED, P.DISCONTINUED}),
        P.COMPLETED: frozenset(),
        P.DISCONTINUED: frozenset(),
    }
)


class ProblemKind(models.TextChoices):
    """Why a performed step, or a study of the archive, waits for a person."""

    NO_ORDER = "no_order", "No order"
    OTHER_PATIENT = "other_patient", "Another patient"
    PATIENT_DIFFERS = "patient_differs", "Patient data differ"
    OTHER_MODALITY = "other_modality", "Another machine"
    ORDER_ENDED = "order_ended", "Order ended"
    UNKNOWN_EXAM = "unknown_exam", "Unknown exam code"
    WRONG_ENTRY = "wrong_entry", "Wrong worklist entry"
    AFTER_REPORT = "after_report", "After the report"
    STOPPED_AND_COMPLETE = "stopped", "Stopped and completed"


class EventKind(models.TextChoices):
    """What can happen while an exam is made."""

    EXTRAVASATION = "extravasation", "Extravasation"
    REACTION = "reaction", "Reaction"
    MOVED = "moved", "Moved"
    REPEATED = "repeated", "Images repeated"
    REJECTED = "rejected", "Images rejected"
    PREMEDICATION = "premedication", "Premedication given"
    NOTE = "note", "Note"
    PROCEDURE_CHANGED = "procedure_changed", "Exam changed"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Severity(models.TextChoices):
    """Of a reaction, as the ACR manual grades it; of an extravasation, as it looks."""

    MILD = "mild", "Mild"
    MODERATE = "moderate", "Moderate"
    SEVERE = "severe", "Severe"


class RepeatReason(models.TextChoices):
    """Why images were made again or thrown away: the columns of a reject analysis (AAPM TG-151)."""

    POSITIONING = "positioning", "Positioning"
    MOTION = "motion", "Patient moved"
    EXPOSURE = "exposure", "Exposure"
    ARTEFACT = "artefact", "Artefact"
    COLLIMATION = "collimation", "Anatomy cut off"
    EQUIPMENT = "equipment", "Equipment"
    WRONG_PATIENT = "wrong", "Wrong exam or side"
    TIMING = "timing", "Contrast timing"


class TalkSide(models.TextChoices):
    """The two ends of the talk about an exam."""

    ROOM = "room", "At the scanner"
    READING = "reading", "Reading room"


class AdministrationStatus(models.TextChoices):
    """What became of a container that was opened for an exam."""

    GIVEN = "given", "Given"
    WASTED = "wasted", "Wasted"
    WITHDRAWN = "withdrawn", "Withdrawn"  # entered by mistake


A = AdministrationStatus

ADMINISTRATION_FLOW = Flow(
    {
        A.GIVEN: frozenset({A.WITHDRAWN}),
        A.WASTED: frozenset({A.WITHDRAWN}),
        A.WITHDRAWN: frozenset(),
    }
)
