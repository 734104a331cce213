"""The one way to fetch an appointment for a user."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from scheduling.models import Appointment


def appointment_for(user: User, pk: int) -> Appointment:
    """The appointment, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "schedule.view")
    appointment = (
        Appointment.objects.select_related("order__patient", "patient", "room__facility")
        .prefetch_related("patient__identifiers", "order__procedures__procedure_type")
        .filter(pk=pk)
        .first()
    )
    if appointment is None:
        raise NotFound("There is no such appointment.")
    record_access(
        user, "appointment.view", patient=appointment.patient_id, subject=appointment.order.accession_number
    )
    return appointment
