"""What protocolling hears: an order came, changed, was released or ended; its exam began."""

from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.orders.models import Order, RequestedProcedure
from ris.protocolling import actions

_ENDED = ("order.cancelled", "order.discontinued", "exam.started")


@subscriber(
    "protocolling", "order.placed", "order.procedure_mapped", "order.procedure_changed", "order.released",
    "exam.start_undone", *_ENDED,
)  # fmt: skip
def follow_order(event: Event) -> None:
    by = system_user("protocolling")
    order = Order.objects.get(pk=event.facts["order"])
    if event.kind == "order.placed":
        actions.want_protocols(order, by=by)
    elif event.kind in {"order.procedure_mapped", "order.procedure_changed"}:
        actions.want_again(RequestedProcedure.objects.get(pk=event.facts["procedure"]), by=by)
    elif event.kind == "order.released":
        actions.take_answers(order, by=by)
    elif event.kind == "exam.start_undone":
        actions.revive_requests(order, by=by)
    else:
        actions.lapse_requests(order, by=by)
