"""The order lists, and what the order form looks up."""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.postgres.search import TrigramWordSimilarity
from django.db.models import Case, Count, DurationField, F, Max, Prefetch, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from ris.accounts.models import Role, User
from ris.core.names import fold
from ris.department.models import Laterality, Practitioner, ProcedureType
from ris.orders.access import orders_for
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus, Priority
from ris.patients.models import Patient
from ris.patients.search import matching, parse

#: Within what time a request of a priority is due when the referrer names no day (own figures, not a standard's).
DUE_WITHIN = {
    Priority.STAT: timedelta(hours=1),
    Priority.ASAP: timedelta(days=1),
    Priority.PREOP: timedelta(days=1),
    Priority.CALLBACK: timedelta(days=1),
}
_DUE_WITHIN = timedelta(days=14)

#: How much of the list without a status is shown: the newest.
ALL_SHOWN = 2000

_WAITING = [OrderStatus.REQUESTED, OrderStatus.HELD]
_UNKNOWN = RequestedProcedure.objects.filter(procedure_type=None).values("order")


@dataclass(frozen=True)
class View:
    word: str
    condition: Q
    empty: str


VIEWS = {
    "to-book": View("To book", Q(status=OrderStatus.REQUESTED), "No request waits to be booked."),
    "codes": View("Codes to match", Q(status__in=_WAITING, pk__in=_UNKNOWN), "Every exam code is known."),
    "held": View("Held", Q(status=OrderStatus.HELD), "No order is held."),
    "scheduled": View("Scheduled", Q(status=OrderStatus.SCHEDULED), "Nothing is booked."),
    "in-progress": View("Started", Q(status=OrderStatus.IN_PROGRESS), "No exam is under way."),
    "all": View("All", Q(), "There are no orders yet."),
}


def counts(user: User) -> dict[str, int]:
    """How many orders each view but `all` holds."""
    by_status = _open(user).aggregate(
        **{name.replace("-", "_"): Count("pk", filter=view.condition)
           for name, view in VIEWS.items() if name not in {"codes", "all"}}
    )  # fmt: skip
    unknown = _seen_by(user).filter(VIEWS["codes"].condition).count()
    counted = {name.replace("_", "-"): number for name, number in by_status.items()} | {"codes": unknown}
    return {name: counted[name] for name in VIEWS if name != "all"}


def _seen_by(user: User) -> QuerySet[Order]:
    return orders_for(user).select_related(None).prefetch_related(None).order_by()


def _open(user: User) -> QuerySet[Order]:
    return _seen_by(user).filter(status__in=[*_WAITING, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS])


def version(user: User) -> str:
    """Changes with every order that is open or stops being so, and each minute: the lists tell how long is left."""
    row = _open(user).aggregate(n=Count("pk"), versions=Sum("version"), last=Max("status_at"))
    newest = row["last"].timestamp() if row["last"] else 0
    return f"{row['n']}-{row['versions']}-{newest:.3f}-{int(timezone.now().timestamp() // 60)}"


def order_list(
    user: User, view: str, *, modality: str = "", priority: str = "", text: str = ""
) -> QuerySet[Order]:
    """The orders of a view, what is due first on top; `all` begins with the newest."""
    orders = orders_for(user).filter(VIEWS[view].condition)
    if modality:
        orders = orders.filter(procedures__procedure_type__modality=modality)
    if priority:
        orders = orders.filter(priority=priority)
    if text := text.strip():
        orders = orders.filter(_mentions(text))
    orders = (
        orders.annotate(due=due())
        .prefetch_related(None)
        .prefetch_related(
            "patient__identifiers",
            Prefetch("procedures", RequestedProcedure.objects.select_related("procedure_type")),
        )
    )
    return orders.order_by("-pk") if view == "all" else orders.order_by("due", "pk")


def due(of: str = "") -> Coalesce:
    """When an order is due, `of` being the way to it: the day the referrer named, else by its priority."""
    by_priority = Case(
        *(When(**{f"{of}priority": priority}, then=Value(within)) for priority, within in DUE_WITHIN.items()),
        default=Value(_DUE_WITHIN),
        output_field=DurationField(),
    )
    return Coalesce(f"{of}wanted_at", F(f"{of}ordered_at") + by_priority)


def _mentions(text: str) -> Q:
    """An accession or placer number, or what finds a patient. Patients come first and by id: one index a condition."""
    query = parse(text)
    numbers = query.numbers or (text,)
    found = Q(accession_number__in=numbers) | Q(placer_order_number__in=numbers)
    if condition := matching(query):
        found |= Q(patient__in=list(Patient.objects.filter(condition).values_list("pk", flat=True)[:200]))
    return found


def missing(order: Order) -> list[str]:
    """What still has to be found out before the order can be booked."""
    found = []
    for procedure in order.procedures.all():
        kind = procedure.procedure_type
        if kind is None:
            found.append(f"Exam code {procedure.code} is not known")
        elif kind.laterality == Laterality.REQUIRED and not procedure.side:
            found.append("Side is not given")
    if order.status == OrderStatus.HELD and order.hold_reason:
        found.append(order.hold_reason)
    return found


# ---- what the form looks up


def find_exams(text: str, *, limit: int = 10) -> list[ProcedureType]:
    """Offered exams by beginnings of the words of code, name, synonyms: "ct ab p c". The code itself comes first."""
    words = fold(text).split()[:8]
    if not words:
        return []
    found = ProcedureType.objects.filter(active=True)
    for word in words:
        # The text holds no blank before its first word.
        found = found.filter(Q(search__startswith=word) | Q(search__contains=f" {word}"))
    if not found.exists():
        alike = TrigramWordSimilarity(" ".join(words), "search")
        close = ProcedureType.objects.filter(active=True).annotate(alike=alike).filter(alike__gte=0.4)
        return list(close.order_by("-alike", "name")[:limit])
    joined = "".join(words)
    return sorted(
        found[:200],
        key=lambda exam: (
            fold(exam.code) != joined,
            not fold(exam.name).startswith(words[0]),
            len(exam.name),
            exam.name,
        ),
    )[:limit]


def find_practitioners(text: str, *, limit: int = 10) -> list[Practitioner]:
    """Those who may order, by beginnings of the parts of their names, or by their number."""
    words = text.replace(",", " ").split()[:6]
    if not words:
        return []
    found = Practitioner.objects.filter(active=True)
    for word in words:
        found = found.filter(
            Q(family__unaccent__istartswith=word)
            | Q(given__unaccent__istartswith=word)
            | Q(prefix__istartswith=word)
            | Q(identifier__iexact=word)
        )
    return list(found[:limit])


def done_lately(patient: Patient, exam: ProcedureType, *, days: int = 90) -> list[Order]:
    """The patient's orders for the same exam, or the same part of the body in the same modality, not withdrawn."""
    same = Q(procedures__procedure_type=exam)
    if exam.body_part:
        same |= Q(
            procedures__procedure_type__modality=exam.modality,
            procedures__procedure_type__body_part=exam.body_part,
        )
    return list(
        Order.objects.filter(same, patient=patient, ordered_at__gte=timezone.now() - timedelta(days=days))
        .exclude(status__in=[OrderStatus.CANCELLED, OrderStatus.DISCONTINUED])
        .prefetch_related("procedures__procedure_type")
        .order_by("-ordered_at")
        .distinct()[:5]
    )


def own_practitioner(user: User) -> Practitioner | None:
    """Who a referrer orders as: nobody but themself."""
    if set(user.roles) != {Role.REFERRER}:
        return None
    return Practitioner.objects.filter(user=user, active=True).first()
