"""What safety hears: answers told with an order, and exams a modality began although a stop stood."""

from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.orders.models import Order
from ris.safety.actions import flag_if_stopped, take_from_order


@subscriber("safety.order_answers", "order.placed", "order.changed")
def note_answers(event: Event) -> None:
    if event.kind == "order.changed" and "answers" not in event.facts.get("changed", []):
        return
    order = Order.objects.get(pk=event.facts["order"])
    if order.answers:
        take_from_order(order, by=system_user("safety"))


@subscriber("safety.begun", "exam.started")
def flag_what_began(event: Event) -> None:
    """A start by hand has asked before; what a machine says it began cannot be refused."""
    if event.by.is_system:
        order = Order.objects.get(pk=event.facts["order"])
        flag_if_stopped(order, by=system_user("safety"), at=event.at)
