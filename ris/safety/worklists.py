"""Who asks for a clearance, and what is known of one patient; reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from ris.core.formats import local
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.models import Patient
from ris.safety.models import (
    AnswerSet,
    Clearance,
    ClearanceRequest,
    Implant,
    PatientFact,
    Question,
    Questionnaire,
    Reaction,
    RenalValue,
    Statement,
)
from ris.safety.passport import Finding, Passport, passports_for

_OPEN = [OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS]


def _midnight(now: datetime) -> datetime:
    return local(now).replace(hour=0, minute=0, second=0, microsecond=0)


def _waiting(now: datetime) -> QuerySet[ClearanceRequest]:
    """Today's requests that nobody has answered since, of orders that may still be done."""
    answered = Clearance.objects.filter(
        order=OuterRef("order"), rule=OuterRef("rule"), at__gte=OuterRef("asked_at")
    )
    return ClearanceRequest.objects.filter(
        asked_at__gte=_midnight(now), order__status__in=_OPEN
    ).exclude(Exists(answered))  # fmt: skip


def waiting_count() -> int:
    return _waiting(timezone.now()).values("order", "rule").distinct().count()


@dataclass(frozen=True)
class Waiting:
    """A clearance somebody waits for, with what the rule found."""

    asked: ClearanceRequest
    passport: Passport
    findings: list[Finding]

    @property
    def order(self) -> Order:
        return self.asked.order


def asked_clearances() -> list[Waiting]:
    """The longest waiting first; what is no longer in the way has left the list."""
    rows = (
        _waiting(timezone.now())
        .select_related("asked_by", "order__patient", "order__visit")
        .prefetch_related("order__patient__identifiers", "order__procedures__procedure_type")
        .order_by("asked_at", "pk")
    )
    first: dict[tuple[int, str], ClearanceRequest] = {}
    for row in rows:
        first.setdefault((row.order_id, row.rule), row)
    orders = {row.order_id: row.order for row in first.values()}
    passports = passports_for(orders.values())
    found = []
    for row in first.values():
        row.order = orders[row.order_id]
        passport = passports[row.order_id]
        open_now = [one for one in passport.findings if one.rule == row.rule and one.is_open]
        if open_now:
            found.append(Waiting(row, passport, open_now))
    return found


# ---- one patient


@dataclass(frozen=True)
class Facts:
    """What lasts of a patient: what stands, and what was withdrawn."""

    implants: list[Implant]
    reactions: list[Reaction]
    renal: list[RenalValue]
    statements: list[Statement]
    withdrawn: list[PatientFact]

    @property
    def anything(self) -> bool:
        return bool(self.implants or self.reactions or self.renal or self.statements)


def facts_of(patient: Patient) -> Facts:
    rows: list[list[Any]] = []
    withdrawn: list[PatientFact] = []
    for model in (Implant, Reaction, RenalValue, Statement):
        of_patient: QuerySet[Any] = model._default_manager.filter(patient=patient)
        every = list(
            of_patient.select_related("noted_by", "verified_by", "withdrawn_by").order_by("-told_at", "-pk")
        )
        rows.append([one for one in every if one.withdrawn_at is None])
        withdrawn += [one for one in every if one.withdrawn_at is not None]
    implants, reactions, renal, statements = rows
    newest: dict[str, Statement] = {}
    for one in statements:
        newest.setdefault(one.kind, one)
    if implants:
        newest.pop(Statement.Kind.IMPLANTS, None)
    renal.sort(key=lambda one: (one.measured_on, one.pk), reverse=True)
    withdrawn.sort(key=lambda one: one.withdrawn_at or one.told_at, reverse=True)
    return Facts(implants, reactions, renal, list(newest.values()), withdrawn)


def open_orders(patient: Patient) -> list[Order]:
    """The exams still to be done, the next first."""
    orders = (
        Order.objects.filter(patient=patient, status__in=_OPEN)
        .select_related("patient", "visit")
        .prefetch_related("procedures__procedure_type")
    )
    return list(orders.order_by(F("scheduled_at").asc(nulls_last=True), "ordered_at")[:20])


def answered_of(patient: Patient) -> QuerySet[AnswerSet]:
    return (
        AnswerSet.objects.filter(order__patient=patient)
        .select_related("questionnaire", "entered_by", "order")
        .order_by("-entered_at", "-pk")[:40]
    )


def clearances_of(patient: Patient) -> QuerySet[Clearance]:
    return Clearance.objects.filter(order__patient=patient).select_related("by", "order").order_by("-at")[:40]


def mattering(answers: AnswerSet) -> list[tuple[str, str]]:
    """(question, answer) of those that somebody had to think about."""
    questions: list[Question] = answers.questionnaire.questions
    found = []
    for one in questions:
        given = answers.answers.get(one["code"], {})
        if given.get("value") in {*one.get("matters", []), "unknown"}:
            found.append((one["text"], " · ".join(filter(None, (given["value"], given.get("note"))))))
    return found


# ---- editions


def editions() -> dict[str, list[Questionnaire]]:
    """Every questionnaire's editions by its code, the newest first."""
    found: dict[str, list[Questionnaire]] = {}
    for one in Questionnaire.objects.select_related("made_by", "published_by").order_by("code", "-edition"):
        found.setdefault(one.code, []).append(one)
    return found


@dataclass(frozen=True)
class Change:
    what: str
    before: str
    after: str


def differences(old: Iterable[Question], new: Iterable[Question]) -> list[Change]:
    """What a later edition asks otherwise, question by question."""
    before, after = ({one["code"]: one for one in side} for side in (old, new))
    found = [Change("Added", "", one["text"]) for code, one in after.items() if code not in before]
    found += [Change("Left out", one["text"], "") for code, one in before.items() if code not in after]
    for code, one in after.items():
        was = before.get(code)
        if was is None or was == one:
            continue
        if was["text"] != one["text"]:
            found.append(Change("Other words", was["text"], one["text"]))
        parts = sorted(key for key in {*was, *one} - {"text"} if was.get(key) != one.get(key))
        for key in parts:
            found.append(
                Change(f"{one['text']} {key.replace('_', ' ')}", _shown(was.get(key)), _shown(one.get(key)))
            )
    kept = [code for code in before if code in after]
    if kept != [code for code in after if code in before]:
        found.append(Change("Order", " · ".join(kept), " · ".join(code for code in after if code in before)))
    return found


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "nothing")
