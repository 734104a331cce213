"""Fetching what only the desk's own pages show."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.patients.models import Patient


def patient_of_log(user: User, pk: int) -> Patient:
    """The patient whose access log is read, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "audit.view")
    patient = Patient.objects.prefetch_related("identifiers").filter(pk=pk).first()
    if patient is None:
        raise NotFound("There is no such patient.")
    record_access(user, "audit.view", patient=patient.pk)
    return patient
