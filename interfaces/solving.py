"""Cases whose cause a fact removes."""

from interfaces.cases import solve_cases
from interfaces.models import CaseKind
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus

_WAITING = (OrderStatus.REQUESTED, OrderStatus.HELD)


@subscriber("interfaces.cases", "order.procedure_mapped", "order.numbered", "order.cancelled")
def solve(event: Event) -> None:
    order = Order.objects.get(pk=event.facts["order"])
    if order.placer_order_number or order.status == OrderStatus.CANCELLED:
        solve_cases(CaseKind.NO_PLACER_NUMBER, f"placer:{order.accession_number}", by=event.by)
    for procedure in order.procedures.all():
        _exam(order, procedure, event)


def _exam(order: Order, procedure: RequestedProcedure, event: Event) -> None:
    """The code is a case no longer when no order waits to have it matched."""
    waiting = RequestedProcedure.objects.filter(
        procedure_type=None, code=procedure.code, order__source=order.source, order__status__in=_WAITING
    )
    if not waiting.exists():
        key = f"exam:{order.source}|{procedure.code}"
        solve_cases(CaseKind.UNKNOWN_EXAM, key, by=event.by, note="The exam has been matched.")
