"""One fact of an order on its way to one partner: what every conversation about an order shares."""

from collections.abc import Callable

from interfaces import engine
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import Endpoint, OutboundMessage
from ris.audit.trail import record_access, working_for
from ris.events.models import Event
from ris.orders.models import Order


def order_of(pk: int) -> Order:
    return (
        Order.objects.select_related(
            "patient", "facility", "ordering", "entered_by", "visit__attending", "visit__referring"
        )
        .prefetch_related("patient__identifiers")
        .get(pk=pk)
    )


def concerns(endpoint: Endpoint, order: Order) -> bool:
    """An order born here concerns every placer that is asked to number it."""
    only = profile.option(endpoint.profile, "order_only")
    if not only or order.source == only:
        return True
    return not order.source and profile.option(endpoint.profile, "filler_orders") == "yes"


class Telling:
    """One fact, on its way to one partner."""

    def __init__(self, endpoint: Endpoint, event: Event, order: Order) -> None:
        self.endpoint = endpoint
        self.event = event
        self.order = order

    def tell(self, purpose: str, type_: str, render: Callable[[Writer], bytes]) -> None:
        message = engine.enqueue(
            NewMessage(
                endpoint=self.endpoint,
                event=self.event,
                purpose=purpose,
                type=type_,
                key=self.order.subject,
                render=lambda control_id: render(Writer(self.endpoint, control_id, self.event.at)),
                patient_id=self.order.patient_id,
                accession_number=self.order.accession_number,
            )
        )
        if message is not None:
            with working_for(self.endpoint.name):
                record_access(
                    self.endpoint.user, "message.sent", patient=self.order.patient_id,
                    subject=self.order.subject, message=message.pk,
                )  # fmt: skip

    def has_been_told(self, purpose: str) -> bool:
        return OutboundMessage.objects.filter(
            endpoint=self.endpoint, key=self.order.subject, purpose__startswith=purpose
        ).exists()
