"""The one way to fetch a message for a user: its content is a patient's."""

from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound


def inbound_for(user: User, pk: int) -> InboundMessage:
    """A message that came in, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "message.view")
    message = InboundMessage.objects.select_related("endpoint", "patient").filter(pk=pk).first()
    if message is None:
        raise NotFound("There is no such message.")
    record_access(user, "message.view", patient=message.patient_id, subject=f"in:{message.pk}")
    return message


def outbound_for(user: User, pk: int) -> OutboundMessage:
    """A message that goes out, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "message.view")
    message = OutboundMessage.objects.select_related("endpoint", "patient", "event__by").filter(pk=pk).first()
    if message is None:
        raise NotFound("There is no such message.")
    record_access(user, "message.view", patient=message.patient_id, subject=f"out:{message.pk}")
    return message


def partner_for(pk: int) -> Endpoint:
    """A partner that is not retired. Raises NotFound."""
    endpoint = Endpoint.objects.filter(pk=pk, active=True).first()
    if endpoint is None:
        raise NotFound("There is no such partner.")
    return endpoint


def case_for(user: User, pk: int) -> Case:
    """A case, with the look noted. Raises NotAllowed or NotFound."""
    require(user, "message.view")
    case = (
        Case.objects.select_related(
            "endpoint", "owner", "closed_by", "inbound__endpoint", "outbound__endpoint", "outbound__event__by"
        )
        .filter(pk=pk)
        .first()
    )
    if case is None:
        raise NotFound("There is no such case.")
    record_access(user, "case.view", patient=case.patient_id, subject=f"case:{case.pk}")
    return case
