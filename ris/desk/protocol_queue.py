"""The protocolling queue across the workflow: what is asked, when it is booked, what is known; reads only."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, DateTimeField, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from ris.accounts.models import User
from ris.desk import chart
from ris.desk.chart import Entry
from ris.orders.worklists import due
from ris.protocolling.models import ProtocolRequest
from ris.protocolling.states import DECIDED, RequestStatus
from scheduling.models import Appointment
from scheduling.states import PENDING

#: For how long a decision stays in the list of what was decided.
LATELY = timedelta(days=7)
#: Exams of before that the sheet shows.
PRIORS = 5


@dataclass(frozen=True)
class View:
    word: str
    statuses: tuple[RequestStatus, ...]
    empty: str


VIEWS = {
    "to-protocol": View("To protocol", (RequestStatus.WANTED,), "Nothing to protocol."),
    "asked": View("Referrer asked", (RequestStatus.ASKED,), "No referrer was asked."),
    "returned": View("Returned", (RequestStatus.REJECTED,), "Nothing was returned."),
    "decided": View("Decided lately", DECIDED, "Nothing was decided in the last 7 days."),
}


def _of_view(view: str) -> QuerySet[ProtocolRequest]:
    rows = ProtocolRequest.objects.filter(status__in=VIEWS[view].statuses)
    return rows.filter(status_at__gte=timezone.now() - LATELY) if view == "decided" else rows


def queue(view: str, modality: str = "") -> QuerySet[ProtocolRequest]:
    """The requests of a view, what is booked or due first on top; what was decided, the newest first."""
    booked = Appointment.objects.filter(order=OuterRef("order"), status__in=PENDING).order_by("during")
    rows = (
        _of_view(view)
        .select_related("order__patient", "order__ordering", "order__visit", "procedure__procedure_type", "protocol",
                        "decided_by")
        .prefetch_related("order__patient__identifiers", "order__procedures__procedure_type")
        .annotate(
            booked_at=Subquery(booked.values("during__startswith")[:1], output_field=DateTimeField()),
            booked_in=Subquery(booked.values("room__name")[:1]),
        )
        .annotate(due=Coalesce("booked_at", due("order__")))
    )  # fmt: skip
    if modality:
        rows = rows.filter(procedure__procedure_type__modality=modality)
    return rows.order_by("-status_at") if view == "decided" else rows.order_by("due", "pk")


def counts() -> dict[str, int]:
    open_ones = {name: view for name, view in VIEWS.items() if name != "decided"}
    rows: dict[str, int] = ProtocolRequest.objects.filter(
        status__in=[one for view in open_ones.values() for one in view.statuses]
    ).aggregate(**{name.replace("-", "_"): Count("pk", filter=Q(status__in=view.statuses))
                   for name, view in open_ones.items()})  # fmt: skip
    return {name: rows[name.replace("-", "_")] for name in open_ones}


def version(view: str) -> str:
    """Changes with every request of the view, and each minute: the list tells how long is left."""
    row = _of_view(view).aggregate(n=Count("pk"), versions=Sum("version"), last=Max("status_at"))
    newest = row["last"].timestamp() if row["last"] else 0
    return f"{row['n']}-{row['versions']}-{newest:.3f}-{int(timezone.now().timestamp() // 60)}"


def modalities(view: str) -> list[tuple[str, int]]:
    """(modality, how many) of a view."""
    kinds = _of_view(view).values_list("procedure__procedure_type__modality").annotate(n=Count("pk"))
    return sorted((kind, n) for kind, n in kinds if kind)


def priors_of(user: User, request: ProtocolRequest) -> list[Entry]:
    """What was done to the patient before, the newest first."""
    orders: Any = chart.orders_of(user, request.order.patient).exclude(pk=request.order_id)[: 2 * PRIORS]
    done = [entry for order in orders for entry in chart.entries_of(order) if entry.exam is not None]
    return done[:PRIORS]
