"""Reads of the talk between room and reading room."""

from collections.abc import Iterable

from django.db.models import Count, Max, Q, QuerySet

from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.exams.actions.messages import side_of
from ris.exams.models import ExamMessage, MessageReceipt
from ris.orders.models import Order


def lines_of(order: Order) -> list[ExamMessage]:
    return list(order.messages.select_related("author").prefetch_related("receipts__reader"))


def talk_version(order: Order) -> str:
    found = order.messages.aggregate(n=Count("pk", distinct=True), seen=Max("receipts__pk"))
    return f"{found['n']}-{found['seen'] or 0}"


def newest() -> str:
    """Changes with every message and receipt anywhere."""
    said = ExamMessage.objects.aggregate(at=Max("pk"))["at"]
    return f"{said or 0}.{MessageReceipt.objects.aggregate(at=Max('pk'))['at'] or 0}"


def unseen_by(user: object) -> QuerySet[ExamMessage]:
    """What the other side wrote and nobody of the user's own side has acknowledged."""
    here = side_of(user)
    return ExamMessage.objects.exclude(side=here).exclude(receipts__side=here)


def unseen_counts(user: object, orders: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Order -> (unseen, urgent among them) for a list's badges; one query."""
    rows = (
        unseen_by(user)
        .filter(order__in=list(orders))
        .order_by()
        .values_list("order")
        .annotate(n=Count("pk"), urgent=Count("pk", filter=Q(urgent=True)))
    )
    return {order: (n, urgent) for order, n, urgent in rows}


def waiting_talks(user: object, limit: int = 50) -> list[ExamMessage]:
    """The newest unseen line of each order, urgent and oldest first."""
    unseen = (
        unseen_by(user)
        .select_related("author", "order__patient")
        .prefetch_related("order__patient__identifiers", "order__procedures__procedure_type",
                          "order__exams__room")
        .order_by("-at")
    )  # fmt: skip
    newest: dict[int, ExamMessage] = {}
    urgent: set[int] = set()
    for message in unseen[: limit * 4]:
        newest.setdefault(message.order_id, message)
        if message.urgent:
            urgent.add(message.order_id)
    found = sorted(newest.values(), key=lambda one: (one.order_id not in urgent, one.at))
    return found[:limit]


def talk_context(user: User, order: Order) -> dict[str, object]:
    """What `exams/_talk.html` shows."""
    return {
        "order": order,
        "lines": lines_of(order),
        "talk_version": talk_version(order),
        "side": side_of(user),
        "can_talk": allowed(user, "exam.talk"),
    }


def talks_context(user: User) -> dict[str, object]:
    """What the chip with the waiting questions shows."""
    unseen = unseen_by(user)
    talks = unseen.order_by().values("order").distinct().count()
    urgent = unseen.filter(urgent=True).order_by().values("order").distinct().count()
    return {"talks": talks, "urgent": urgent, "version": f"{talks}-{urgent}"}
