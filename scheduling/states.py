"""The lives of an appointment and of a scheduled procedure step."""

from django.db import models

from ris.core.flow import Flow


class AppointmentStatus(models.TextChoices):
    BOOKED = "booked", "Scheduled"  # SIU S12; FHIR booked
    CONFIRMED = "confirmed", "Confirmed"
    ARRIVED = "arrived", "Arrived"  # FHIR arrived
    READY = "ready", "Ready"  # FHIR checked-in
    FULFILLED = "fulfilled", "Started"  # FHIR fulfilled: the exam has begun
    CANCELLED = "cancelled", "Cancelled"  # SIU S15
    NO_SHOW = "no_show", "No-show"  # SIU S26


A = AppointmentStatus

APPOINTMENT_FLOW = Flow(
    {
        A.BOOKED: frozenset({A.CONFIRMED, A.ARRIVED, A.FULFILLED, A.CANCELLED, A.NO_SHOW}),
        A.CONFIRMED: frozenset({A.BOOKED, A.ARRIVED, A.FULFILLED, A.CANCELLED, A.NO_SHOW}),
        # Back to booked or confirmed: the check-in is undone.
        A.ARRIVED: frozenset({A.BOOKED, A.READY, A.FULFILLED, A.CANCELLED}),
        A.READY: frozenset({A.ARRIVED, A.FULFILLED, A.CANCELLED}),
        # Back to arrived: the wrong entry was started (110514).
        A.FULFILLED: frozenset({A.ARRIVED}),
        # Back to booked: undone, when the time is still free.
        A.CANCELLED: frozenset({A.BOOKED}),
        A.NO_SHOW: frozenset({A.BOOKED}),
    }
)

#: Those that hold their room and their patient.
LIVE = [A.BOOKED, A.CONFIRMED, A.ARRIVED, A.READY, A.FULFILLED]
#: Those that have not begun.
PENDING = [A.BOOKED, A.CONFIRMED, A.ARRIVED, A.READY]


class StepStatus(models.TextChoices):
    """Scheduled Procedure Step Status (0040,0020) in brackets."""

    SCHEDULED = "scheduled", "Scheduled"  # SCHEDULED
    ARRIVED = "arrived", "Arrived"  # ARRIVED
    READY = "ready", "Ready"  # READY
    STARTED = "started", "Started"  # STARTED
    COMPLETED = "completed", "Completed"  # DEPARTED
    DISCONTINUED = "discontinued", "Discontinued"
    CANCELLED = "cancelled", "Cancelled"


P = StepStatus

STEP_FLOW = Flow(
    {
        P.SCHEDULED: frozenset({P.ARRIVED, P.STARTED, P.CANCELLED}),
        P.ARRIVED: frozenset({P.SCHEDULED, P.READY, P.STARTED, P.CANCELLED}),
        P.READY: frozenset({P.ARRIVED, P.STARTED, P.CANCELLED}),
        P.STARTED: frozenset({P.ARRIVED, P.COMPLETED, P.DISCONTINUED}),
        # Back when its exam was ended too early.
        P.COMPLETED: frozenset({P.STARTED}),
        P.DISCONTINUED: frozenset(),
        P.CANCELLED: frozenset(),
    }
)

#: What a modality finds on its worklist, and what it is shown beside that where its station says so.
ON_WORKLIST = [P.SCHEDULED, P.ARRIVED, P.READY]
SHOWABLE = [*ON_WORKLIST, P.STARTED]
