"""The safety passport: "may we today?", and by which rules.

`judge` is a pure function of what is known, the exam and the day. `passports_for` reads what it needs for many
orders in a fixed number of queries; `refuse_if_stopped` is what a start by hand asks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, prefetch_related_objects
from django.utils import timezone

from ris.accounts.models import Role, User
from ris.accounts.permissions import RIGHTS, allowed
from ris.core import formats
from ris.core.errors import Conflict
from ris.core.formats import local
from ris.department.models import Modality
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.models import Sex
from ris.safety.models import (
    Agent,
    AnswerSet,
    Clearance,
    ClearanceRequest,
    Contrast,
    Implant,
    MrCondition,
    Question,
    Questionnaire,
    Reaction,
    RenalValue,
    Severity,
    Stage,
    Statement,
)
from ris.safety.rules import WORDS, Rule, Verdict, site_rules
from ris.safety.states import QuestionnaireStatus


class Stopped(Conflict):
    """The exam may not be started by hand until somebody clears it; the text names who can."""

    code = "safety_stop"


@dataclass(frozen=True)
class Part:
    """One procedure of the order, as far as the rules look at it."""

    modality: str
    body_part: str = ""
    contrast: bool = False
    name: str = ""


@dataclass(frozen=True)
class Asked:
    """The exam, and whose."""

    parts: tuple[Part, ...]
    age: int | None = None
    sex: str = Sex.UNKNOWN

    @property
    def modalities(self) -> frozenset[str]:
        return frozenset(part.modality for part in self.parts)

    @property
    def media(self) -> frozenset[str]:
        """The kinds of contrast medium that are meant."""
        return frozenset(
            _MEDIA[part.modality] for part in self.parts if part.contrast and part.modality in _MEDIA
        )

    @property
    def contrast_modalities(self) -> frozenset[str]:
        return frozenset(part.modality for part in self.parts if part.contrast)


_MEDIA: dict[str, str] = {
    Modality.MR: Agent.GADOLINIUM, Modality.CT: Agent.IODINE, Modality.XA: Agent.IODINE, Modality.RF: Agent.IODINE,
    Modality.XR: Agent.IODINE, Modality.MG: Agent.IODINE,
}  # fmt: skip
#: Exams that go through the skin, by their names; the catalogue has no word of its own for them.
_PUNCTURE = re.compile(
    r"biops|punctur|injection|drain|arthrogra|myelogra|aspirat|angiogra\w+ \(catheter", re.I
)


@dataclass(frozen=True)
class Known:
    """All that is known of a patient and bears on the exam; facts that stand, the newest first."""

    implants: tuple[Implant, ...] = ()
    reactions: tuple[Reaction, ...] = ()
    renal: tuple[RenalValue, ...] = ()
    statements: Mapping[str, Statement] = field(default_factory=dict)
    allergies: str = ""
    #: PV1-15 says B6.
    pregnant_visit: bool = False
    weight_kg: Decimal | None = None
    #: The questionnaires the exam asks for, with the newest set of answers by stage.
    screens: tuple["Screen", ...] = ()


@dataclass(frozen=True)
class Screen:
    """One questionnaire for the exam, and how far it has come."""

    questionnaire: Questionnaire
    sets: Mapping[str, AnswerSet] = field(default_factory=dict)

    @property
    def newest(self) -> AnswerSet | None:
        return max(self.sets.values(), key=lambda one: (one.entered_at, one.pk), default=None)

    @property
    def holds_until(self) -> date | None:
        """The last day of the newest review; None when there was none."""
        said = self.sets.get(Stage.INTERVIEW)
        return _day_of(said.entered_at) + timedelta(days=said.questionnaire.valid_days) if said else None

    def current(self, day: date) -> AnswerSet | None:
        """The newest answers that still stand, reviewed or not."""
        said = self.newest
        if said is None or _day_of(said.entered_at) + timedelta(days=said.questionnaire.valid_days) < day:
            return None
        return said

    def reviewed(self, day: date) -> bool:
        until = self.holds_until
        return until is not None and until >= day


@dataclass(frozen=True)
class Finding:
    """One rule and what it found: the sentence, from which fact, until when it stands, and who may clear it."""

    rule: str
    verdict: Verdict
    sentence: str
    #: What a clearance of it names.
    source: str
    told: str = ""
    until: date | None = None
    stops: bool = False
    right: str = ""
    clearance: Clearance | None = None
    asked: ClearanceRequest | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for somebody who may clear it."""
        return bool(self.right) and self.verdict >= Verdict.ASK

    @property
    def is_stop(self) -> bool:
        return self.stops and self.verdict == Verdict.NO

    @property
    def tone(self) -> str:
        return TONES[self.verdict]

    @property
    def who(self) -> str:
        return holders(self.right) if self.right else ""


TONES = {Verdict.YES: "ok", Verdict.CONDITIONS: "info", Verdict.ASK: "wait", Verdict.NO: "stop"}


@dataclass(frozen=True)
class Passport:
    order: Order
    day: date
    findings: tuple[Finding, ...]
    screens: tuple[Screen, ...]

    @property
    def verdict(self) -> Verdict:
        return max((one.verdict for one in self.findings), default=Verdict.YES)

    @property
    def word(self) -> str:
        return WORDS[self.verdict]

    @property
    def tone(self) -> str:
        return TONES[self.verdict]

    @property
    def fired(self) -> list[Finding]:
        """What speaks against it or is a condition, the worst first."""
        found = [one for one in self.findings if one.verdict > Verdict.YES]
        return sorted(found, key=lambda one: -one.verdict)

    @property
    def stands(self) -> list[Finding]:
        """What is known and speaks for it."""
        return [one for one in self.findings if one.verdict == Verdict.YES]

    @property
    def to_come(self) -> bool:
        return self.order.status in _TO_COME

    @property
    def stops(self) -> list[Finding]:
        return [one for one in self.findings if one.is_stop]

    @property
    def open_rules(self) -> list[str]:
        return list(dict.fromkeys(one.rule for one in self.fired if one.is_open))

    @property
    def needed(self) -> bool:
        """Whether anything of the exam is the rules' business at all."""
        return bool(self.findings or self.screens)

    @property
    def reviewed(self) -> bool:
        return all(one.reviewed(self.day) for one in self.screens)

    @property
    def check(self) -> str:
        """The state of the ready check "Safety"."""
        if not self.needed:
            return "none"
        return {Verdict.NO: "stop", Verdict.ASK: "progress"}.get(self.verdict, "done")

    @property
    def summary(self) -> str:
        """One line for a list: the verdict and its first reason."""
        first = next(iter(self.fired), None)
        return f"{self.word}: {first.sentence}" if first else self.word


def holders(right: str) -> str:
    """Who holds a right, in words: "a radiologist"."""
    return " or ".join(
        f"a {Role(role).label.lower()}" for role in sorted(RIGHTS[right]) if role != Role.SYSTEM
    )


# ---- the rules


def judge(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> tuple[Finding, ...]:
    """Every rule that has something to say of this exam on this day, before clearances."""
    found = [finding for check in _CHECKS for finding in check(asked, known, day, rules)]
    return tuple(one for one in found if rules[one.rule].active)


def _finding(
    rule: Rule, sentence: str, source: str, *, verdict: Verdict | None = None, told: str = "", until: date | None = None
) -> Finding:  # fmt: skip
    judged = rule.verdict if verdict is None else verdict
    heavy = judged >= Verdict.ASK
    return Finding(
        rule.code, judged, sentence, source, told, until, stops=rule.stops and heavy, right=rule.right if heavy else ""
    )  # fmt: skip


def _day_of(at: datetime) -> date:
    return local(at).date()


def _until(rule: Rule, since: date) -> date | None:
    return None if rule.valid_days is None else since + timedelta(days=rule.valid_days)


def _said(fact: Implant | Reaction | Statement) -> str:
    """Where it is known from: "Patient, 02-Nov-2026"."""
    who = fact.get_source_display()
    checked = f", verified by {fact.verified_by}" if fact.verified_by_id else ""
    return f"{who}, {formats.day(fact.told_at)}{checked}"


def _mr_implants(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["mr-implant"]
    if not rule.modalities & asked.modalities:
        return
    for one in known.implants:
        where = f" ({one.where})" if one.where else ""
        safe = one.mr == MrCondition.SAFE
        sentence = {
            MrCondition.SAFE: f"{one}{where} is MR safe.",
            MrCondition.UNSAFE: f"{one}{where} is MR unsafe.",
            MrCondition.UNKNOWN: f"{one}{where}: nothing is known of it in MR.",
            MrCondition.CONDITIONAL: f"{one}{where} is MR conditional{_conditions(one)}.",
        }[MrCondition(one.mr)]
        yield _finding(rule, sentence, one.key, verdict=Verdict.YES if safe else None, told=_said(one))
    none = known.statements.get(Statement.Kind.IMPLANTS)
    if not known.implants and none is not None and none.value == "none":
        yield _finding(rule, "No implants.", none.key, verdict=Verdict.YES, told=_said(none))
    if not known.implants:
        for screen, question, value, note in _mattering(known, day):
            if question.get("effect") == "implant":
                said = (
                    f'"{question["text"]}" {_in_words(question, value)}{_noted(note)}. No device is recorded.'
                )
                yield _finding(rule, said, _answer_key(screen, question, value), told=_told(screen))


def _conditions(one: Implant) -> str:
    field = f"up to {one.max_tesla.normalize():f} T" if one.max_tesla else ""
    words = "; ".join(filter(None, (field, one.conditions)))
    return f": {words.rstrip('.')}" if words else "; its conditions are not recorded"


def may_be_pregnant(asked: Asked, rule: Rule) -> bool:
    """Whether the rule asks this patient at all: by sex, age and what is exposed."""
    if asked.sex == Sex.MALE or not any(_exposed(part, rule) for part in asked.parts):
        return False
    lower, upper = rule.age_from, rule.age_to
    if asked.age is None:
        return True
    return (lower is None or asked.age >= lower) and (upper is None or asked.age <= upper)


def _exposed(part: Part, rule: Rule) -> bool:
    if part.modality not in rule.modalities:
        return False
    # What is injected goes everywhere.
    if part.modality in {Modality.NM, Modality.PT} or not part.body_part:
        return True
    regions = re.split(r",|\band\b", part.body_part)
    return not all(_named(region, rule.except_parts) for region in regions)


def _named(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE) for word in words)


def _pregnancy(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["pregnancy"]
    exposed = any(_exposed(part, rule) for part in asked.parts)
    if not exposed and rules["mr-pregnancy"].modalities & asked.modalities:
        rule = rules["mr-pregnancy"]
    elif not exposed:
        return
    said = known.statements.get(Statement.Kind.PREGNANCY)
    value, source = (said.value, _said(said)) if said else ("", "")
    if known.pregnant_visit and value != "definite":
        yield _finding(rule, "The visit says that the patient is pregnant.", "pregnancy=visit", told="Visit")
        return
    if said is not None and value in {"possible", "definite"} and _is_recent(said, value, rule, day):
        yield _finding(rule, f"{said.words}{_noted(said.detail)}.", f"pregnancy={value}", told=source)
    elif rule.stops and may_be_pregnant(asked, rule):
        if said is not None and value == "not" and _is_recent(said, value, rule, day):
            until = _until(rule, _day_of(said.told_at))
            yield _finding(
                rule, f"Not pregnant{_noted(said.detail)}.", said.key, verdict=Verdict.YES, told=source, until=until
            )  # fmt: skip
        else:
            older = (
                f" {said.words} was said {formats.day(said.told_at)} and no longer stands." if said else ""
            )
            yield _finding(
                rule, f"Pregnancy has not been ruled out today.{older}", "pregnancy=unknown", told=source
            )


#: A pregnancy once stated is not over the next morning.
_PREGNANT_FOR = timedelta(days=300)


def _is_recent(said: Statement, value: str, rule: Rule, day: date) -> bool:
    since = _day_of(said.told_at)
    if value == "definite":
        return since + _PREGNANT_FOR >= day
    until = _until(rule, since)
    return until is None or until >= day


def _screening(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["screening"]
    for screen in known.screens:
        title, code = screen.questionnaire.title, screen.questionnaire.code
        if screen.reviewed(day):
            said = screen.sets[Stage.INTERVIEW]
            yield _finding(
                rule, f"{title}: reviewed with the patient.", f"screening:{code}", verdict=Verdict.YES,
                told=f"{said.entered_by}, {formats.moment(said.reviewed_at)}", until=screen.holds_until,
            )  # fmt: skip
        elif screen.current(day) is not None:
            yield _finding(
                rule, f"{title}: answered, not yet reviewed with the patient.", f"screening:{code}", told=_told(screen)
            )  # fmt: skip
        else:
            until = screen.holds_until
            past = f" The last review held until {formats.day(until)}." if until else ""
            yield _finding(rule, f"{title}: not answered.{past}", f"screening:{code}")


def _answers(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["answers"]
    for screen, question, value, note in _mattering(known, day):
        effect = question.get("effect", "")
        if effect not in {"ask", "condition"}:
            continue
        if effect == "condition" and value == "unknown":
            effect = "ask"
        said = question.get("sentence") or f'"{question["text"]}" {_in_words(question, value)}'
        yield _finding(
            rule, f"{said.rstrip('.')}{_noted(note)}.", _answer_key(screen, question, value),
            verdict=Verdict.CONDITIONS if effect == "condition" else Verdict.ASK, told=_told(screen),
        )  # fmt: skip


def _mattering(known: Known, day: date) -> Iterable[tuple[Screen, Question, str, str]]:
    """The answers that somebody has to think about, of the newest sets that still stand."""
    for screen in known.screens:
        said = screen.current(day)
        if said is None:
            continue
        questions: list[Question] = said.questionnaire.questions
        for question in questions:
            given = said.answers.get(question["code"], {})
            value = given.get("value", "")
            # Not to be sure always goes to a person.
            if value and (
                value in question.get("matters", []) or (value == "unknown" and question.get("effect"))
            ):
                yield screen, question, value, given.get("note", "")


def _answer_key(screen: Screen, question: Question, value: str) -> str:
    return f"answer:{screen.questionnaire.code}.{question['code']}={value}"


def _told(screen: Screen) -> str:
    said = screen.newest
    return f"{said.get_said_by_display()}, {formats.moment(said.entered_at)}" if said else ""


def _in_words(question: Question, value: str) -> str:
    named = {choice[0]: choice[1] for choice in question.get("choices", [])}
    return str(named.get(value) or {"yes": "Yes", "no": "No", "unknown": "Not sure"}.get(value, value))


def _noted(note: str) -> str:
    return f" ({note.strip().rstrip('.')})" if note.strip() else ""


def _reactions(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    if not asked.media:
        return
    for one in known.reactions:
        if one.kind not in asked.media:
            continue
        heavy = one.severity in {Severity.SEVERE, Severity.UNKNOWN}
        rule = rules["reaction-severe" if heavy else "reaction"]
        when = f" {formats.day(one.happened_on)}" if one.happened_on else ""
        degree = (
            "Reaction of unknown severity"
            if one.severity == Severity.UNKNOWN
            else f"{one.get_severity_display()} reaction"
        )
        before = f" Before the exam: {one.premedication.rstrip('.')}." if one.premedication else ""
        yield _finding(
            rule, f"{degree} to {one}{when}{_noted(one.description)}.{before}", one.key, told=_said(one)
        )
    media = {_NAMES_OF_MEDIA[Agent(medium)] for medium in asked.media}
    recorded = any(one.kind in asked.media for one in known.reactions)
    if not recorded and any(re.search(words, known.allergies, re.I) for words in media):
        sentence = f"The record's allergies say: {known.allergies}. No reaction is recorded in detail."
        yield _finding(rules["allergies"], sentence, f"allergies={known.allergies}", told="Record")


_NAMES_OF_MEDIA = {
    Agent.IODINE: r"iod|contrast|iohexol|iopamidol|iopromide|iomeprol|omnipaque|ultravist|visipaque",
    Agent.GADOLINIUM: r"gado|contrast|dotarem|gadovist|prohance|multihance|primovist",
}


def _renal(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    missing, low, reduced = rules["renal-missing"], rules["renal-low"], rules["renal-reduced"]
    given = asked.contrast_modalities
    if not given & (missing.modalities | low.modalities):
        return
    newest = known.renal[0] if known.renal else None
    until = _until(missing, newest.measured_on) if newest else None
    if newest is None or (until is not None and until < day):
        old = f" The last one, {newest.egfr}, is of {formats.day(newest.measured_on)}." if newest else ""
        yield _finding(
            missing, f"No eGFR that is recent enough.{old}", newest.key if newest else "renal=none"
        )
        return
    told = f"{newest.get_source_display()}, {formats.day(newest.measured_on)}"
    worked_out = " (worked out from the creatinine)" if newest.calculated else ""
    if low.limit is not None and newest.egfr < low.limit and given & low.modalities:
        sentence = f"eGFR {newest.egfr}{worked_out} is below {low.limit.normalize():f}."
        yield _finding(low, sentence, newest.key, told=told, until=until)
    elif reduced.limit is not None and newest.egfr < reduced.limit and given & reduced.modalities:
        sentence = (
            f"eGFR {newest.egfr}{worked_out} is below {reduced.limit.normalize():f}: hydrate, smallest dose."
        )
        yield _finding(reduced, sentence, newest.key, told=told, until=until)
    else:
        yield _finding(
            missing, f"eGFR {newest.egfr}{worked_out}.", newest.key, verdict=Verdict.YES, told=told, until=until
        )  # fmt: skip


def _metformin(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["metformin"]
    said = _yes(known, Statement.Kind.METFORMIN, rule, day)
    if said is None or not asked.contrast_modalities & rule.modalities:
        return
    newest = known.renal[0] if known.renal else None
    recent = _until(rules["renal-missing"], newest.measured_on) if newest else None
    unknown = newest is None or (recent is not None and recent < day)
    if unknown or (rule.limit is not None and newest is not None and newest.egfr < rule.limit):
        sentence = "Takes metformin: none from now until 48 h after the contrast, and then by a new eGFR."
        yield _finding(rule, sentence, said.key, told=_said(said), until=_until(rule, _day_of(said.told_at)))


def _yes(known: Known, kind: str, rule: Rule, day: date) -> Statement | None:
    """The newest statement of the kind when it says yes and still stands."""
    said = known.statements.get(kind)
    if said is None or said.value != "yes":
        return None
    until = _until(rule, _day_of(said.told_at))
    return said if until is None or until >= day else None


def _puncture(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["anticoagulant"]
    said = _yes(known, Statement.Kind.ANTICOAGULANT, rule, day)
    if said and any(part.modality == Modality.XA or _PUNCTURE.search(part.name) for part in asked.parts):
        sentence = (
            f"Takes a blood thinner{_noted(said.detail)}: check the clotting values and when it was paused."
        )
        yield _finding(rule, sentence, said.key, told=_said(said), until=_until(rule, _day_of(said.told_at)))


def _narrow(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["claustrophobia"]
    said = _yes(known, Statement.Kind.CLAUSTROPHOBIA, rule, day)
    if said and asked.modalities & rule.modalities:
        sentence = f"Fears narrow spaces{_noted(said.detail)}: show the bell, offer eye cover and company."
        yield _finding(rule, sentence, said.key, told=_said(said), until=_until(rule, _day_of(said.told_at)))


def _weight(asked: Asked, known: Known, day: date, rules: Mapping[str, Rule]) -> Iterable[Finding]:
    rule = rules["weight"]
    if rule.limit is None or not asked.modalities & rule.modalities:
        return
    said = known.statements.get(Statement.Kind.WEIGHT)
    until = _until(rule, _day_of(said.told_at)) if said else None
    weight = Decimal(said.value) if said and (until is None or until >= day) else known.weight_kg
    if weight is not None and weight > rule.limit:
        sentence = f"Weighs {weight.normalize():f} kg; the limit is {rule.limit.normalize():f} kg."
        yield _finding(
            rule, sentence, f"weight={weight.normalize():f}", told=_said(said) if said else "Order"
        )


_CHECKS = (
    _mr_implants, _pregnancy, _screening, _answers, _reactions, _renal, _metformin, _puncture, _narrow, _weight,
)  # fmt: skip


# ---- clearances


def _cleared(
    finding: Finding, clearances: Mapping[str, list[Clearance]], requests: Mapping[str, ClearanceRequest], now: datetime
) -> Finding:  # fmt: skip
    """The finding as the newest word on it leaves it. What was not looked at is not covered."""
    if not finding.is_open:
        return finding
    for one in clearances.get(finding.rule, []):
        if one.expires_at <= now or finding.source not in one.covers:
            continue
        if one.granted:
            said = f"{finding.sentence} Cleared by {one.by}: {one.reason}"
            return replace(
                finding, verdict=Verdict.CONDITIONS, sentence=said, clearance=one, until=_day_of(one.at)
            )  # fmt: skip
        said = f"{finding.sentence} {one.by} says no: {one.reason}"
        return replace(finding, verdict=Verdict.NO, sentence=said, clearance=one)
    asked = requests.get(finding.rule)
    return replace(finding, asked=asked) if asked and _day_of(asked.asked_at) == _day_of(now) else finding


# ---- reading


def age_on(day: date, birth_date: str) -> int | None:
    """In years; of a partial birth date only the year counts."""
    if len(birth_date) < 4:
        return None
    age = day.year - int(birth_date[:4])
    return age - (len(birth_date) == 10 and f"{day:%m-%d}" < birth_date[5:])


def asked_of(order: Order, day: date) -> Asked:
    kinds = [one.procedure_type for one in order.procedures.all() if one.procedure_type]
    parts = tuple(Part(kind.modality, kind.body_part, kind.contrast, kind.name) for kind in kinds)
    return Asked(parts, age_on(day, order.patient.birth_date), order.patient.sex)


def applies(questionnaire: Questionnaire, asked: Asked, rules: Mapping[str, Rule]) -> bool:
    """Whether the exam asks for this questionnaire."""
    modalities = asked.contrast_modalities if questionnaire.contrast == Contrast.WITH else asked.modalities
    if not modalities & set(questionnaire.modalities):
        return False
    return not questionnaire.childbearing or may_be_pregnant(asked, rules["pregnancy"])


def passport_for(order: Order, *, at: datetime | None = None) -> Passport:
    return passports_for([order], at=at)[order.pk]


def passports_for(orders: Iterable[Order], *, at: datetime | None = None) -> dict[int, Passport]:
    """The passport of each order by its id, in ten queries however many orders there are.

    What has begun is judged by the day it began: its clearances were for that day.
    """
    wanted = list(orders)
    if not wanted:
        return {}
    now = at or timezone.now()
    prefetch_related_objects(wanted, "procedures__procedure_type", "patient", "visit")
    patients = {order.patient_id for order in wanted}
    rules = site_rules()
    published = list(Questionnaire.objects.filter(status=QuestionnaireStatus.PUBLISHED))
    implants = _by_patient(_standing(Implant, patients))
    reactions = _by_patient(_standing(Reaction, patients))
    renal = _by_patient(_standing(RenalValue, patients).order_by("-measured_on", "-pk"))
    statements = _newest_statements(patients)
    sets = _newest_sets(patients, now)
    pks = [order.pk for order in wanted]
    clearances = _clearances(pks)
    requests = _requests(pks)
    passports = {}
    for order in wanted:
        moment = now if order.status in _TO_COME else order.in_progress_at or now
        day = _day_of(moment)
        asked = asked_of(order, day)
        screens = tuple(
            Screen(one, sets.get((order.patient_id, one.code), {}))
            for one in published
            if applies(one, asked, rules)
        )
        visit = order.visit
        known = Known(
            implants=tuple(implants.get(order.patient_id, ())), reactions=tuple(reactions.get(order.patient_id, ())),
            renal=tuple(renal.get(order.patient_id, ())), statements=statements.get(order.patient_id, {}),
            allergies=order.patient.allergies, pregnant_visit=bool(visit and visit.pregnancy == "B6"),
            weight_kg=order.weight_kg, screens=screens,
        )  # fmt: skip
        found = tuple(
            _cleared(one, clearances.get(order.pk, {}), requests.get(order.pk, {}), moment)
            for one in judge(asked, known, day, rules)
        )
        passports[order.pk] = Passport(order, day, found, screens)
    return passports


_TO_COME = {OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED}


def _standing(model: Any, patients: Iterable[int]) -> Any:
    rows = model.objects.filter(patient__in=patients, withdrawn_at=None).select_related("verified_by")
    return rows.order_by("-told_at", "-pk")


def _by_patient(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.patient_id, []).append(row)
    return found


def _newest_statements(patients: Iterable[int]) -> dict[int, dict[str, Statement]]:
    rows = (
        _standing(Statement, patients)
        .order_by("patient", "kind", "-told_at", "-pk")
        .distinct("patient", "kind")
    )
    found: dict[int, dict[str, Statement]] = {}
    for row in rows:
        found.setdefault(row.patient_id, {})[row.kind] = row
    return found


#: What an earlier visit's answers can still be good for: to begin the next form with.
_REMEMBERED = timedelta(days=730)


def _newest_sets(patients: Iterable[int], now: datetime) -> dict[tuple[int, str], dict[str, AnswerSet]]:
    """By patient and questionnaire, of whichever edition: the newest set of each stage."""
    rows = (
        AnswerSet.objects.filter(order__patient__in=patients, entered_at__gte=now - _REMEMBERED)
        .select_related("questionnaire", "entered_by")
        .annotate(patient_pk=F("order__patient"))
        .order_by("order__patient", "questionnaire__code", "stage", "-entered_at", "-pk")
        .distinct("order__patient", "questionnaire__code", "stage")
    )
    found: dict[tuple[int, str], dict[str, AnswerSet]] = {}
    for row in rows:
        found.setdefault((row.patient_pk, row.questionnaire.code), {})[row.stage] = row
    return found


def _clearances(orders: list[int]) -> dict[int, dict[str, list[Clearance]]]:
    rows = Clearance.objects.filter(order__in=orders).select_related("by").order_by("-at", "-pk")
    found: dict[int, dict[str, list[Clearance]]] = {}
    for row in rows:
        found.setdefault(row.order_id, {}).setdefault(row.rule, []).append(row)
    return found


def _requests(orders: list[int]) -> dict[int, dict[str, ClearanceRequest]]:
    rows = (
        ClearanceRequest.objects.filter(order__in=orders)
        .select_related("asked_by")
        .order_by("asked_at", "pk")
    )
    found: dict[int, dict[str, ClearanceRequest]] = {}
    for row in rows:
        found.setdefault(row.order_id, {})[row.rule] = row
    return found


_FINGERPRINT = """
SELECT concat_ws('.', (SELECT max(id) FROM safety_answerset), (SELECT max(id) FROM safety_clearance),
    (SELECT max(id) FROM safety_clearancerequest), (SELECT max(id) FROM safety_implant),
    (SELECT max(id) FROM safety_reaction), (SELECT max(id) FROM safety_renalvalue),
    (SELECT max(id) FROM safety_statement),
    (SELECT max(withdrawn_at) FROM safety_implant WHERE withdrawn_at IS NOT NULL),
    (SELECT max(withdrawn_at) FROM safety_reaction WHERE withdrawn_at IS NOT NULL),
    (SELECT max(withdrawn_at) FROM safety_renalvalue WHERE withdrawn_at IS NOT NULL),
    (SELECT max(withdrawn_at) FROM safety_statement WHERE withdrawn_at IS NOT NULL))
"""


def fingerprint() -> str:
    """Changes with everything a passport says, for the versions of lists."""
    with connection.cursor() as cursor:
        cursor.execute(_FINGERPRINT)
        return str(cursor.fetchone()[0])


# ---- the stop


def refuse_if_stopped(order: Order, *, by: User, at: datetime | None = None) -> Passport:
    """Raise Stopped while a hard stop of the order stands; the text says what and who can clear it.

    For starts by hand. What a modality reports has happened and is never refused.
    """
    passport = passport_for(order, at=at)
    if passport.stops:
        first = passport.stops[0]
        others = f" {len(passport.stops) - 1} more." if len(passport.stops) > 1 else ""
        who = (
            "You can clear it."
            if allowed(by, first.right)
            else f"{first.who[:1].upper()}{first.who[1:]} can clear it."
        )
        raise Stopped(f"Do not start. {first.sentence}{others} {who}", location="safety")
    return passport
