"""The one way to fetch a patient for a user: permission, the same answer for absent and hidden, and the audit."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.patients.models import Patient


def patient_for(user: User, pk: int, *, reason: str = "") -> Patient:
    """The patient, with the look noted in the trail. Raises NotAllowed or NotFound."""
    require(user, "patient.view")
    patient = (
        Patient.objects.prefetch_related("identifiers").select_related("merged_into").filter(pk=pk).first()
    )
    if patient is None:
        raise NotFound("There is no such patient.")
    record_access(user, "patient.view", patient=patient.pk, reason=reason)
    return patient
