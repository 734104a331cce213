"""The one way to fetch an appointment for a user."""

from django.db.models import QuerySet

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from scheduling.models import Appointment


def appointments_for(user: User) -> QuerySet[Appointment]:
    """The appointments `user` may see."""
    require(user, "schedule.view")
    return Appointment.objects.select_related(
        "order__patient",
        "order__ordering",
        "order__visit",
        "patient",
        "room__facility",
        "booked_by",
        "performer",
    ).prefetch_related(
        "patient__identifiers", "order__patient__identifiers", "order__procedures__procedure_type"
    )


def appointment_for(user: User, pk: int) -> Appointment:
    """The appointment, with the look noted. Raises NotAllowed or NotFound."""
    appointment = appointment_to_change(user, pk)
    record_access(
        user, "appointment.view", patient=appointment.patient_id, subject=appointment.order.accession_number
    )
    return appointment


def appointment_to_change(user: User, pk: int) -> Appointment:
    """The appointment for a verb, which notes the change itself. Raises NotAllowed or NotFound."""
    appointment = appointments_for(user).filter(pk=pk).first()
    if appointment is None:
        raise NotFound("There is no such appointment.")
    return appointment
