"""What safety hears of the orders: what a requester tells with one lasts beyond it."""

from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.orders.models import Order
from ris.safety.actions import take_from_order


@subscriber("safety.order_answers", "order.placed", "order.changed")
def note_answers(event: Event) -> None:
    if event.kind == "order.changed" and "answers" not in event.facts.get("changed", []):
        return
    order = Order.objects.get(pk=event.facts["order"])
    if order.answers:
        take_from_order(order, by=system_user("safety"))
