"""What is known of the invented patients' safety: devices, reactions, values, answers, and who asks for clearance.

Written in bulk as the verbs would have left it; the facts of the last days are in the trail by their orders.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from ris.accounts.models import Role, User
from ris.core.formats import local
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.models import Sex
from ris.safety import asking
from ris.safety.actions import ask_clearance
from ris.safety.models import (
    AnswerSet,
    Implant,
    PatientFact,
    Reaction,
    RenalValue,
    Source,
    Stage,
    Statement,
)
from ris.safety.passport import passports_for
from scheduling.models import Appointment
from scheduling.states import AppointmentStatus
from scheduling.worklists import day_span

#: Name, maker, model, MR condition, tesla, conditions, where.
_DEVICES = (
    ("Pacemaker", "Norvik", "Pulse D2", "conditional", "1.5", "SAR 2 W/kg; MR mode programmed by cardiology", "Chest"),
    ("Pacemaker", "", "", "unknown", None, "", "Chest"),
    ("Hip replacement", "Altmann", "CeraFit", "conditional", "3.0", "No limits beyond normal mode", "Hip"),
    ("Coronary stent", "Veda", "Flow 3", "conditional", "3.0", "Whole body SAR 2 W/kg for 15 minutes a sequence", "Heart"),
    ("Aneurysm clip", "", "", "unsafe", None, "", "Head"),
    ("Cochlear implant", "Sonata", "C40", "conditional", "1.5", "Head bandage; magnet stays in", "Temporal bone"),
    ("Breast implant", "Lumina", "Soft", "safe", None, "", "Breast"),
    ("Titanium plate", "Altmann", "", "safe", None, "", "Wrist"),
)  # fmt: skip
_REACTIONS = (
    ("iodine", "Iohexol", "mild", "Itching and a few wheals", "Prednisolone 32 mg 12 h and 2 h before"),
    (
        "iodine",
        "Iomeprol",
        "moderate",
        "Vomiting, wide-spread rash",
        "Prednisolone 32 mg 12 h and 2 h before",
    ),
    ("iodine", "", "severe", "Collapse, adrenaline given", ""),
    ("gadolinium", "Gadobutrol", "mild", "Nausea", ""),
)
_UNDONE = [OrderStatus.REQUESTED, OrderStatus.SCHEDULED]
_HERE = {AppointmentStatus.ARRIVED, AppointmentStatus.READY}


def invent_safety(rng: Random, now: datetime) -> str:
    """Facts of those who wait for an exam where they matter; answers of those who have come; questions to clear."""
    desk, tech = (
        User.objects.filter(roles__contains=[role]).order_by("pk")[0]
        for role in (Role.FRONTDESK, Role.TECHNOLOGIST)
    )
    orders = list(
        Order.objects.filter(status__in=_UNDONE, procedures__procedure_type__modality__in=["MR", "CT", "NM", "PT", "XA"])
        .select_related("patient", "visit").prefetch_related("procedures__procedure_type").order_by("pk").distinct()
    )  # fmt: skip
    facts = [fact for order in orders for fact in _facts(rng, order, now, tech)]
    for model in (Implant, Reaction, RenalValue, Statement):
        rows: list[Any] = [one for one in facts if isinstance(one, model)]
        model._default_manager.bulk_create(rows, batch_size=500)
    today = Appointment.objects.filter(during__overlap=day_span(local(now).date()), status__in=_HERE)
    here = {one.order_id: one for one in today}
    waiting = [order for order in orders if order.pk in here]
    answered = list(_answers(rng, waiting, here, now, desk))
    AnswerSet.objects.bulk_create(answered)
    Statement.objects.bulk_create([one for made in answered for one in _stated(made)])
    asked = 0
    for order, passport in zip(waiting, passports_for(waiting, at=now).values(), strict=True):
        for rule in passport.open_rules[:1]:
            if asked < 3 and any(one.rule == rule and one.stops for one in passport.fired):
                ask_clearance(order, rule, by=tech, at=now - timedelta(minutes=4))
                asked += 1
    return f"{len(facts):,} facts, {len(answered)} answered forms, {asked} ask for clearance"


def _facts(rng: Random, order: Order, now: datetime, by: User) -> Iterable[PatientFact]:
    told = now - timedelta(days=rng.randrange(3, 400))
    common = {"patient": order.patient, "noted_by": by, "told_at": told}
    kinds = [one.procedure_type for one in order.procedures.all() if one.procedure_type]
    modalities = {kind.modality for kind in kinds}
    if "MR" in modalities and rng.random() < 0.3:
        name, maker, model, mr, tesla, conditions, where = rng.choice(_DEVICES)
        year = str(now.year - rng.randrange(1, 15))
        yield Implant(
            name=name, maker=maker, model=model, mr=mr, max_tesla=Decimal(tesla) if tesla else None, conditions=conditions,
            body_site=where, implanted_on=year, source=Source.CARD if maker else Source.PATIENT,
            verified_by=by if maker else None, verified_at=told if maker else None, **common,
        )  # fmt: skip
    contrast = {kind.modality for kind in kinds if kind.contrast}
    if contrast and rng.random() < 0.08:
        kind, agent, severity, description, before = rng.choice(_REACTIONS)
        yield Reaction(
            kind=kind, agent=agent, severity=severity, description=description, premedication=before,
            happened_on=str(now.year - rng.randrange(1, 9)), source=Source.PATIENT, **common,
        )  # fmt: skip
    if contrast and rng.random() < 0.8:
        days = rng.choice((2, 9, 20, 33, 51, 70, 140))
        egfr = Decimal(max(14, min(110, round(rng.gauss(76, 19)))))
        yield RenalValue(
            egfr=egfr, measured_on=local(now).date() - timedelta(days=days), source=Source.LAB,
            **{**common, "told_at": now - timedelta(days=max(days - 1, 1))},
        )  # fmt: skip
    if rng.random() < 0.1:
        statement = rng.choice(("metformin", "anticoagulant", "claustrophobia"))
        yield Statement(kind=statement, value="yes", source=Source.PATIENT, **common)


def _answers(
    rng: Random, orders: Iterable[Order], here: dict[int, Appointment], now: datetime, by: User
) -> Iterable[AnswerSet]:
    """The forms filled in while waiting, most of them all "no"."""
    for order, passport in zip(orders, passports_for(orders, at=now).values(), strict=True):
        at = here[order.pk].arrived_at or now
        for screen in passport.screens:
            if rng.random() < 0.25:
                continue
            given = {}
            for question in asking.questions_for(screen.questionnaire, order, local(now).date()):
                picks = [value for value, _ in asking.values_of(question)]
                if picks:
                    usual = "not" if "not" in picks else "no"
                    given[question["code"]] = {"value": usual if rng.random() < 0.95 else rng.choice(picks)}
            if given:
                yield AnswerSet(
                    order=order, questionnaire=screen.questionnaire, stage=Stage.ARRIVAL, answers=given,
                    entered_by=by, entered_at=min(at + timedelta(minutes=3), now),
                )  # fmt: skip


def _stated(answers: AnswerSet) -> Iterable[Statement]:
    order = answers.order
    for kind, (value, detail) in asking.statements(answers.questionnaire, answers.answers).items():
        if kind == Statement.Kind.PREGNANCY and order.patient.sex == Sex.MALE:
            continue
        yield Statement(
            patient=order.patient, order=order, kind=kind, value=value, detail=detail, told_at=answers.entered_at,
            noted_by=answers.entered_by,
        )  # fmt: skip
