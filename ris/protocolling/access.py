"""The one way to fetch a protocol request for a user."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.protocolling.models import ProtocolRequest


def request_for(user: User, pk: int) -> ProtocolRequest:
    """The request, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "protocol.view")
    found = (
        ProtocolRequest.objects.select_related(
            "order__patient", "order__ordering", "order__visit", "order__facility", "procedure__procedure_type", "protocol",
            "decided_by",
        )
        .prefetch_related("order__patient__identifiers", "order__procedures__procedure_type")
        .filter(pk=pk)
        .first()
    )  # fmt: skip
    if found is None:
        raise NotFound("There is no such protocol request.")
    record_access(user, "protocol.view", patient=found.order.patient_id, subject=found.order.accession_number)
    return found
