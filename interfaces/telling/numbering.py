"""Orders born here that the placer has not numbered: asked for once more, then a person is told (FIL-03)."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from interfaces import engine
from interfaces.cases import NewCase, open_case
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.hl7.outbound import orm
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import CaseKind, Endpoint, OutboundMessage
from interfaces.states import OutboundState
from interfaces.telling.base import order_of
from interfaces.telling.orders import NEW
from ris.orders.actions import find_by_filler
from ris.orders.models import Order
from ris.orders.states import OrderStatus

_AGAIN = f"again {NEW}"
_OVER = (OrderStatus.CANCELLED, OrderStatus.DISCONTINUED)


def ask_again(*, at: datetime) -> int:
    """Go through what was sent with SN and taken, but not numbered in time; how many orders are asked for again."""
    return sum(
        _ask(message, at)
        for endpoint in engine.subscribers("orders")
        if profile.option(endpoint.profile, "filler_orders") == "yes"
        for message in _unnumbered(endpoint, at)
    )


def _unnumbered(endpoint: Endpoint, at: datetime) -> list[OutboundMessage]:
    patience = timedelta(seconds=int(profile.option(endpoint.profile, "number_seconds")))
    since = at - patience - timedelta(days=30)
    waiting = Order.objects.filter(placer_order_number="", ordered_at__gte=since).exclude(status__in=_OVER)
    asked = OutboundMessage.objects.filter(
        endpoint=endpoint, purpose=_AGAIN, accession_number=OuterRef("accession_number")
    )
    return list(
        OutboundMessage.objects.filter(
            ~Exists(asked), endpoint=endpoint, purpose=NEW, status=OutboundState.ACCEPTED,
            answered_at__lt=at - patience, accession_number__in=waiting.values("accession_number"),
        ).select_related("endpoint").order_by("pk")[:100]
    )  # fmt: skip


@transaction.atomic
def _ask(message: OutboundMessage, at: datetime) -> bool:
    known = find_by_filler(message.accession_number)
    assert known is not None, "it was found by this number"
    order, endpoint = order_of(known.pk), message.endpoint
    start = orm.start_of(order)
    engine.enqueue(
        NewMessage(
            endpoint=endpoint, event=None, purpose=_AGAIN, type=message.type, key=order.subject,
            render=lambda control_id: orm.placer_message(order, "SN", "", start, Writer(endpoint, control_id, at)),
            patient_id=order.patient_id, accession_number=order.accession_number,
        )
    )  # fmt: skip
    open_case(
        NewCase(
            CaseKind.NO_PLACER_NUMBER, f"placer:{order.accession_number}",
            f"{endpoint.name} has given no number to an order that was made here.",
            "It has been asked again. If no answer comes, have the order entered there.",
            patient_id=order.patient_id, accession_number=order.accession_number,
        ),
        endpoint=endpoint,
    )  # fmt: skip
    return True
