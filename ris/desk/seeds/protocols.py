"""The protocols of the house and who looks when; and, for the demo, what radiologists have decided lately."""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from random import Random

from django.db.models import Prefetch

from ris.accounts.models import Role, User
from ris.department.models import ProcedureType
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.protocolling.actions import save_protocol, save_rule
from ris.protocolling.models import Bypass, Condition, ExamRule, Protocol, ProtocolRequest
from ris.protocolling.states import RequestStatus

_NUMBERS = {
    "contrast_ml", "contrast_ml_per_kg", "contrast_max_ml", "rate_ml_s", "below_age", "least_egfr",
}  # fmt: skip
#: What nobody has to look at: where waiting costs more than a protocol from the list.
_LISTED = ("CT-PE", "CT-ANGHN")


def add_protocols(*, by: User) -> None:
    """The catalogue of protocols, a rule for each exam that has some, and when nobody has to look."""
    exams = {exam.code: exam for exam in ProcedureType.objects.all()}
    defaults: dict[str, Protocol] = {}
    for row in csv.DictReader(files(__package__).joinpath("protocols.csv").read_text("utf-8").splitlines()):
        kinds = [exams[code] for code in row.pop("exams").split("|")]
        protocol = Protocol(
            modality=kinds[0].modality, series=row.pop("series").replace("|", "\n"),
            indications=[word for word in row.pop("indications").split("|") if word],
            **{column: value or (None if column in _NUMBERS else "") for column, value in row.items()},
        )  # fmt: skip
        save_protocol(protocol, kinds, by=by)
        for kind in kinds:
            defaults.setdefault(kind.code, protocol)
    for code, protocol in defaults.items():
        save_rule(ExamRule(procedure_type=exams[code], default=protocol), by=by)
    for code in _LISTED:
        save_rule(Bypass(condition=Condition.LISTED, procedure_type=exams[code]), by=by)
    save_rule(Bypass(condition=Condition.BY_RADIOLOGIST), by=by)


_UNDONE = {OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED}
_NOTES = (
    "Include the groins.", "Arms up if the shoulder allows.", "Compare the level of the lesion in segment 4.",
    "Call me before the patient leaves the table.", "Left arm only: fistula on the right.", "",
)  # fmt: skip
_QUESTIONS = ("A recent eGFR, please", "Earlier reaction: which agent?", "What is the question?")
#: How many of the exams to come still want a protocol, at least and at most.
_WANTED = (9, 16)


def invent_protocols(rng: Random, now: datetime) -> str:
    """What was done has its protocol; of what is to come most; the rest waits in the queue."""
    doctors = list(User.objects.filter(roles__contains=[Role.RADIOLOGIST]).order_by("pk"))
    rules = {rule.procedure_type_id: rule for rule in ExamRule.objects.select_related("default")}
    suits: dict[int, list[Protocol]] = {kind: [] for kind in rules}
    for protocol in Protocol.objects.prefetch_related("exams").order_by("pk"):
        for exam in protocol.exams.all():
            suits[exam.pk].append(protocol)
    open_ones = rng.randint(*_WANTED)
    made = []
    for order, procedure in _of_rules(list(rules), now):
        kind = procedure.procedure_type_id
        assert kind is not None
        since = order.ordered_at + timedelta(minutes=1)
        request = ProtocolRequest(order=order, procedure=procedure, wanted_since=since, status_at=since)
        undone = order.status in _UNDONE
        if undone and open_ones > 0 and rng.random() < 0.35:
            open_ones -= 1
            if order.status == OrderStatus.REQUESTED and rng.random() < 0.15:
                request.status, request.reason = RequestStatus.ASKED, rng.choice(_QUESTIONS)
                request.decided_by = rng.choice(doctors)
        else:
            _decide(rng, request, rng.choice([rules[kind].default, *suits[kind]]), rng.choice(doctors), now)
        made.append(request)
    ProtocolRequest.objects.bulk_create(made, batch_size=1000)
    wanted = sum(one.status == RequestStatus.WANTED for one in made)
    return f"{len(made):,} protocols, {wanted} of them wanted"


def _of_rules(kinds: list[int], now: datetime) -> Iterator[tuple[Order, RequestedProcedure]]:
    """The exams that have protocols, what is to come first and the latest asked before that."""
    orders = (
        Order.objects.filter(procedures__procedure_type__in=kinds, ordered_at__gte=now - timedelta(days=60))
        .exclude(status__in=[OrderStatus.CANCELLED, OrderStatus.DISCONTINUED])
        .prefetch_related(Prefetch("procedures", RequestedProcedure.objects.order_by("number")))
        .order_by("-ordered_at", "pk")
        .distinct()
    )
    for order in orders:
        for procedure in order.procedures.all():
            if procedure.procedure_type_id in kinds:
                yield order, procedure


def _decide(
    rng: Random, request: ProtocolRequest, protocol: Protocol | None, by: User, now: datetime
) -> None:
    if protocol is None:
        return
    request.status, request.protocol, request.decided_by = RequestStatus.APPROVED, protocol, by
    request.contrast_agent, request.contrast_ml = (
        protocol.contrast_agent,
        protocol.dose_ml(request.order.weight_kg),
    )
    request.premedication, request.preparation = protocol.premedication, protocol.preparation
    request.note = rng.choice(_NOTES) if rng.random() < 0.3 else ""
    until = min(now, request.order.ordered_at + timedelta(days=1))
    request.status_at = request.wanted_since + (until - request.wanted_since) * rng.random()
