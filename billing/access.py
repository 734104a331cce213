"""The one way to fetch a charge for a user."""

from billing.models import Charge
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound


def charge_for(user: User, pk: int) -> Charge:
    """The charge, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "charge.view")
    charge = (
        Charge.objects.select_related("exam__order__patient", "procedure__procedure_type")
        .prefetch_related("exam__order__patient__identifiers")
        .filter(pk=pk)
        .first()
    )
    if charge is None:
        raise NotFound("There is no such charge.")
    record_access(
        user, "charge.view", patient=charge.exam.order.patient_id, subject=charge.exam.order.accession_number
    )
    return charge
