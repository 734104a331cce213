"""What is decided about orders, and what waits; reads only."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import QuerySet

from ris.orders.models import Order, RequestedProcedure
from ris.protocolling.models import ProtocolRequest
from ris.protocolling.states import RequestStatus


def protocols_for(orders: Iterable[Order]) -> dict[int, list[ProtocolRequest]]:
    """The protocol requests by the order's id, in one query; orders without one are absent."""
    found: dict[int, list[ProtocolRequest]] = defaultdict(list)
    rows = _requests().filter(order__in=[order.pk for order in orders])
    for row in rows.order_by("procedure__number", "pk"):
        found[row.order_id].append(row)
    return dict(found)


def protocol_of(procedure: RequestedProcedure) -> ProtocolRequest | None:
    return _requests().filter(procedure=procedure).first()


def _requests() -> QuerySet[ProtocolRequest]:
    return ProtocolRequest.objects.select_related("protocol", "decided_by", "procedure")


def waiting() -> int:
    """How many procedures wait for a protocol."""
    return ProtocolRequest.objects.filter(status=RequestStatus.WANTED).count()
