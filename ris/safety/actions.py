"""Asking, noting, clearing: the verbs of safety.

Each locks its order first, where there is one. What was said is kept as it was said; a change is a further row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotFound
from ris.core.formats import local
from ris.events.outbox import record
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.patients.actions import living
from ris.safety import asking
from ris.safety.models import (
    AnswerSet,
    Clearance,
    ClearanceRequest,
    Implant,
    PatientFact,
    Question,
    Questionnaire,
    RuleSetting,
    SaidBy,
    Source,
    Stage,
    Statement,
)
from ris.safety.passport import passport_for
from ris.safety.reading import told_with
from ris.safety.rules import RULES, SETTABLE
from ris.safety.states import QuestionnaireStatus

Fact = TypeVar("Fact", bound=PatientFact)

# ---- questionnaires


@dataclass(frozen=True)
class Edition:
    """What an edition says."""

    code: str
    title: str
    modalities: tuple[str, ...]
    questions: tuple[Question, ...]
    intro: str = ""
    contrast: str = "any"
    childbearing: bool = False
    valid_days: int = 0

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "title": self.title.strip()[:80], "intro": self.intro.strip()[:300], "modalities": list(self.modalities),
            "contrast": self.contrast, "childbearing": self.childbearing, "valid_days": self.valid_days,
            "questions": list(self.questions),
        }  # fmt: skip


@transaction.atomic
def draft_questionnaire(edition: Edition, *, by: User) -> Questionnaire:
    """Begin the next edition of a questionnaire. Raises Conflict while another draft of it is open."""
    require(by, "safety.change")
    asking.check(edition.questions)
    known = Questionnaire.objects.select_for_update().filter(code=edition.code)
    if any(one.status == QuestionnaireStatus.DRAFT for one in known):
        raise Conflict("Somebody has begun a draft of this questionnaire. Go on with that one.")
    number = max((one.edition for one in known), default=0) + 1
    made = Questionnaire.objects.create(code=edition.code, edition=number, made_by=by, **edition.columns)
    record("questionnaire.drafted", f"questionnaire:{made.code}", by=by, edition=number)
    return made


def copy_as_draft(source: Questionnaire, *, by: User) -> Questionnaire:
    """A further edition that begins as this one is."""
    return draft_questionnaire(
        Edition(
            source.code, source.title, tuple(source.modalities), tuple(source.questions), source.intro,
            source.contrast, source.childbearing, source.valid_days,
        ),
        by=by,
    )  # fmt: skip


def _held(questionnaire: Questionnaire) -> Questionnaire:
    return Questionnaire.objects.select_for_update().get(pk=questionnaire.pk)


@transaction.atomic
def change_draft(draft: Questionnaire, edition: Edition, *, version: int, by: User) -> Questionnaire:
    """Raises IllegalTransition for an edition that is published: its words stay."""
    require(by, "safety.change")
    asking.check(edition.questions)
    draft = _held(draft)
    if draft.status != QuestionnaireStatus.DRAFT:
        raise IllegalTransition("This edition is published and stays as it is. Copy it as a draft.")
    if draft.version != version:
        raise Conflict("Somebody changed this draft while you were typing. Compare, then save again.")
    for column, value in edition.columns.items():
        setattr(draft, column, value)
    draft.version += 1
    draft.save()
    record("questionnaire.changed", f"questionnaire:{draft.code}", by=by, edition=draft.edition)
    return draft


@transaction.atomic
def publish_questionnaire(draft: Questionnaire, *, by: User) -> Questionnaire:
    """From now on it is asked, and the edition before it no longer."""
    require(by, "safety.change")
    draft = _held(draft)
    if not draft.questions or not draft.modalities:
        raise MissingData("A questionnaire needs questions and the exams it is for.")
    before = Questionnaire.objects.select_for_update().filter(
        code=draft.code, status=QuestionnaireStatus.PUBLISHED
    )
    for one in before:
        one.move(QuestionnaireStatus.RETIRED)
    draft.published_by = by
    draft.save(update_fields=["published_by"])
    draft.move(QuestionnaireStatus.PUBLISHED)
    record("questionnaire.published", f"questionnaire:{draft.code}", by=by, edition=draft.edition)
    return draft


@transaction.atomic
def discard_draft(draft: Questionnaire, *, by: User) -> Questionnaire:
    require(by, "safety.change")
    draft = _held(draft)
    draft.move(QuestionnaireStatus.DISCARDED)
    record("questionnaire.discarded", f"questionnaire:{draft.code}", by=by, edition=draft.edition)
    return draft


@transaction.atomic
def set_rule(code: str, values: Mapping[str, Any], *, by: User) -> RuleSetting:
    """What the site wants of a rule instead of its default."""
    require(by, "safety.change")
    if code not in RULES:
        raise NotFound("There is no such rule.")
    if strange := set(values) - set(SETTABLE):
        raise BadValue(f"{', '.join(sorted(strange))} of a rule cannot be set.")
    lower, upper = values.get("age_from"), values.get("age_to")
    if lower is not None and upper is not None and lower > upper:
        raise BadValue("The first age is above the last.", location="age_from")
    setting, _ = RuleSetting.objects.update_or_create(
        code=code, defaults={**values, "changed_by": by, "changed_at": timezone.now()}
    )
    record("safety.rule_changed", f"rule:{code}", by=by)
    return setting


# ---- screening


@dataclass(frozen=True)
class Screening:
    """What is said at one stage: {questionnaire id: {question code: {"value", "note"}}}."""

    stage: str
    answers: Mapping[int, Mapping[str, Mapping[str, str]]]
    said_by: str = SaidBy.PATIENT
    #: Gone through with the patient, in the signer's name; an interview must be.
    reviewed: bool = False
    #: Statements that are no question's: {kind: (value, detail)}.
    statements: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@transaction.atomic
def keep_answers(
    order: Order, screening: Screening, *, by: User, at: datetime | None = None
) -> list[AnswerSet]:
    """Keep what was answered at a stage; what it says of the patient is noted as their statement.

    Raises MissingData for an interview that was not gone through or leaves a question open.
    """
    interview = screening.stage == Stage.INTERVIEW
    require(by, "safety.review" if interview else "safety.screen")
    if screening.stage not in Stage.values:
        raise BadValue("There is no such stage.", location="stage")
    if interview and not screening.reviewed:
        raise MissingData("Go through the answers with the patient, then sign.", location="reviewed")
    order = orders.locked(order)
    moment = at or timezone.now()
    asked = Questionnaire.objects.in_bulk(list(screening.answers))
    kept = []
    for pk, given in screening.answers.items():
        questionnaire = asked.get(pk)
        if questionnaire is None or questionnaire.status not in {
            QuestionnaireStatus.PUBLISHED, QuestionnaireStatus.RETIRED
        }:  # fmt: skip
            raise NotFound("There is no such questionnaire.")
        answers = asking.cleaned(questionnaire, given, order, whole=interview)
        made = AnswerSet.objects.create(
            order=order, questionnaire=questionnaire, stage=screening.stage, answers=answers,
            said_by=screening.said_by, entered_by=by, entered_at=moment,
            reviewed_at=moment if screening.reviewed else None,
        )  # fmt: skip
        kept.append(made)
        stated = asking.statements(questionnaire, answers)
        if Implant.objects.filter(patient=order.patient, withdrawn_at=None).exists():
            stated.pop(Statement.Kind.IMPLANTS, None)  # a device on record is not spoken away
        _state(order, stated, screening.said_by, by=by, at=moment)
    _state(order, screening.statements, screening.said_by, by=by, at=moment)
    record(
        "safety.reviewed" if interview else "safety.answered", order.subject, by=by, patient=order.patient_id,
        order=order.pk, stage=screening.stage, answers=[one.pk for one in kept],
    )  # fmt: skip
    return kept


#: Who said it, as the source of a lasting fact.
_SOURCES = {
    SaidBy.PATIENT: Source.PATIENT,
    SaidBy.RELATIVE: Source.RELATIVE,
    SaidBy.REQUESTER: Source.REQUESTER,
    SaidBy.STAFF: Source.RECORD,
}


def _state(
    order: Order, said: Mapping[str, tuple[str, str]], said_by: str, *, by: User, at: datetime
) -> None:
    for kind, (value, detail) in said.items():
        statement = Statement(
            patient=order.patient, order=order, kind=kind, value=value[:20], detail=detail[:200], told_at=at,
            source=_SOURCES[SaidBy(said_by)], noted_by=by,
        )  # fmt: skip
        statement.save()


# ---- facts


@transaction.atomic
def note_fact(fact: Fact, *, by: User, at: datetime | None = None) -> Fact:
    """Note something that lasts: an implant, a reaction, a value, a statement. `fact` is not saved yet.

    Raises BadValue, naming the field, for what cannot be.
    """
    require(by, "safety.note")
    assert fact.pk is None, "what was noted stays; withdraw it and note another"
    fact.patient = living(fact.patient)
    fact.noted_by = by
    fact.told_at = at or timezone.now()
    try:
        fact.full_clean(exclude=["noted_by", "patient", "order"], validate_constraints=True)
    except ValidationError as problem:
        place, messages = next(iter(problem.message_dict.items()))
        raise BadValue(str(messages[0]), location="" if place == "__all__" else place) from None
    measured = getattr(fact, "measured_on", None)
    if measured is not None and measured > local(fact.told_at).date():
        raise BadValue("This day is still to come.", location="measured_on")
    if fact.verified_by_id:
        fact.verified_at = fact.told_at
    fact.save()
    _tell("safety.fact_noted", fact, by=by)
    return fact


def _tell(kind: str, fact: PatientFact, *, by: User) -> None:
    record(kind, f"patient:{fact.patient_id}", by=by, patient=fact.patient_id, fact=fact.key)


def _fact_held(fact: Fact) -> Fact:
    model: type[models.Model] = type(fact)
    held: Fact = model._default_manager.select_for_update().get(pk=fact.pk)  # type: ignore[assignment]
    if held.withdrawn_at is not None:
        raise IllegalTransition("This entry has been withdrawn.")
    return held


@transaction.atomic
def withdraw_fact(fact: Fact, *, reason: str, by: User, at: datetime | None = None) -> Fact:
    """It is wrong, or no longer so: it stays in the record and counts no more."""
    require(by, "safety.note")
    if not reason.strip():
        raise MissingData("Say why this entry is withdrawn.", location="reason")
    fact = _fact_held(fact)
    fact.withdrawn_at, fact.withdrawn_by = at or timezone.now(), by
    fact.withdrawn_reason = reason.strip()[:200]
    fact.save(update_fields=["withdrawn_at", "withdrawn_by", "withdrawn_reason"])
    _tell("safety.fact_withdrawn", fact, by=by)
    return fact


@transaction.atomic
def verify_fact(fact: Fact, *, by: User, at: datetime | None = None) -> Fact:
    """`by` has seen the card, the letter or the picture it is known from."""
    require(by, "safety.review")
    fact = _fact_held(fact)
    fact.verified_by, fact.verified_at = by, at or timezone.now()
    fact.save(update_fields=["verified_by", "verified_at"])
    _tell("safety.fact_verified", fact, by=by)
    return fact


@transaction.atomic
def take_from_order(order: Order, *, by: User) -> list[PatientFact]:
    """Note what the requester told with the order (OBX): renal values, pregnancy, other answers. Once each."""
    order = orders.locked(order)
    facts, answers = told_with(order)
    new = [fact for fact in facts if not _known(fact, order)]
    for fact in new:
        fact.patient, fact.order, fact.source, fact.noted_by = order.patient, order, Source.ORDER, by
        fact.save()
        _tell("safety.fact_noted", fact, by=by)
    for questionnaire, given in answers:
        before = AnswerSet.objects.filter(order=order, questionnaire=questionnaire, stage=Stage.ORDER)
        if not any(one.answers == given for one in before):
            AnswerSet.objects.create(
                order=order, questionnaire=questionnaire, stage=Stage.ORDER, answers=given,
                said_by=SaidBy.REQUESTER, entered_by=by,
            )  # fmt: skip
    return new


def _known(fact: PatientFact, order: Order) -> bool:
    """Whether the order told it before; withdrawn ones stay withdrawn."""
    said = {
        name: getattr(fact, name)
        for name in ("kind", "value", "egfr", "measured_on", "name")
        if hasattr(fact, name)
    }
    return type(fact)._default_manager.filter(order=order, **said).exists()


# ---- clearances


@transaction.atomic
def ask_clearance(
    order: Order, rule: str, *, by: User, note: str = "", at: datetime | None = None
) -> ClearanceRequest:
    """Call for somebody who may clear a rule that fired. Raises BadValue when there is nothing to clear."""
    require(by, "safety.screen")
    order = orders.locked(order)
    _open_findings(order, rule, at)
    asked = ClearanceRequest.objects.create(
        order=order, rule=rule, note=note.strip()[:200], asked_by=by, asked_at=at or timezone.now()
    )
    record(
        "safety.clearance_asked", order.subject, by=by, patient=order.patient_id, order=order.pk, rule=rule
    )
    return asked


def _open_findings(order: Order, rule: str, at: datetime | None) -> Iterable[Any]:
    found = [one for one in passport_for(order, at=at).findings if one.rule == rule and one.is_open]
    if not found:
        raise BadValue("There is nothing to clear any more. Look at the passport again.", location="rule")
    return found


@transaction.atomic
def clear_rule(
    order: Order, rule: str, *, reason: str, by: User, granted: bool = True, at: datetime | None = None
) -> Clearance:
    """Let an order pass a rule for the rest of the day, or say that it must not.

    It covers the facts that fired now; another device or answer that comes to be known stops anew.
    """
    if rule not in RULES or not RULES[rule].right:
        raise NotFound("There is no such rule to clear.")
    require(by, RULES[rule].right)
    if not reason.strip():
        raise MissingData("Say on what grounds.", location="reason")
    order = orders.locked(order)
    moment = at or timezone.now()
    found = _open_findings(order, rule, moment)
    made = Clearance.objects.create(
        order=order, rule=rule, covers=sorted({one.source for one in found}), granted=granted,
        reason=reason.strip()[:300], by=by, at=moment, expires_at=_end_of_day(moment),
    )  # fmt: skip
    record(
        "safety.cleared" if granted else "safety.refused", order.subject, by=by, patient=order.patient_id,
        order=order.pk, rule=rule, clearance=made.pk,
    )  # fmt: skip
    return made


def _end_of_day(at: datetime) -> datetime:
    zone = ZoneInfo(settings.RIS_FACILITY_TZ)
    return datetime.combine(local(at).date() + timedelta(days=1), time.min, zone)


@transaction.atomic
def flag_if_stopped(order: Order, *, by: User, at: datetime | None = None) -> bool:
    """A modality has begun: that cannot be refused, but a stop that stood is said. Whether one did."""
    stops = passport_for(order, at=at).stops
    if stops:
        rules = sorted({one.rule for one in stops})
        record(
            "safety.begun_against_stop", order.subject, by=by, patient=order.patient_id, order=order.pk, rules=rules
        )  # fmt: skip
    return bool(stops)
