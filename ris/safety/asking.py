"""What a question is, what an answer to it may be, and what it states of the patient."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ris.core.errors import BadValue, MissingData
from ris.core.formats import today
from ris.orders.models import Order
from ris.safety.models import Question, Questionnaire, Statement
from ris.safety.passport import asked_of, may_be_pregnant
from ris.safety.rules import site_rules

KINDS = {
    "yesno": "Yes, no, not sure",
    "choice": "One of several",
    "number": "A number",
    "date": "A day",
    "text": "Words",
}
EFFECTS = {
    "": "Nothing by itself",
    "condition": "A condition to mind",
    "ask": "Ask before the exam",
    "implant": "A device in MR: stops until it is recorded or cleared",
}
_YES_NO = ("yes", "no", "unknown")
_KEYS = set(Question.__annotations__)


def check(questions: Iterable[Mapping[str, Any]]) -> None:
    """Raise BadValue for questions that could not be asked."""
    codes = set()
    for number, one in enumerate(questions, start=1):
        code, where = str(one.get("code", "")), f"Question {number}"
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", code):
            raise BadValue(f"{where} needs a short code of small letters.", location="questions")
        if code in codes:
            raise BadValue(f"{where}: the code {code} is used twice.", location="questions")
        codes.add(code)
        if not str(one.get("text", "")).strip():
            raise BadValue(f"{where} has no text.", location="questions")
        if one.get("kind") not in KINDS:
            raise BadValue(f"{where}: {one.get('kind')} is no kind of answer.", location="questions")
        if strange := set(one) - _KEYS:
            raise BadValue(f"{where} has unknown parts: {', '.join(sorted(strange))}.", location="questions")
        if one.get("effect", "") not in EFFECTS:
            raise BadValue(f"{where}: {one['effect']} is no effect.", location="questions")
        if one["kind"] == "choice" and len(one.get("choices", [])) < 2:
            raise BadValue(f"{where} needs two choices or more.", location="questions")
        if "states" in one and one["states"] not in Statement.Kind.values:
            raise BadValue(f"{where}: {one['states']} is no statement.", location="questions")


def values_of(question: Question) -> list[tuple[str, str]]:
    """(value, words) of the answers to pick from; none where one types. "Not sure" is always offered."""
    if question["kind"] == "yesno":
        return [("no", "No"), ("yes", "Yes"), ("unknown", "Not sure")]
    if question["kind"] == "choice":
        picks = [(choice[0], choice[1]) for choice in question.get("choices", [])]
        return picks if any(value == "unknown" for value, _ in picks) else [*picks, ("unknown", "Not sure")]
    return []


def questions_for(questionnaire: Questionnaire, order: Order, day: date) -> list[Question]:
    """The questions this patient is asked."""
    questions: list[Question] = questionnaire.questions
    if not any(one.get("childbearing") for one in questions):
        return questions
    asked = asked_of(order, day)
    rule = site_rules()["pregnancy"]
    # By age and sex alone: in MR nothing is exposed, and the question is asked all the same.
    lower, upper = rule.age_from or 0, rule.age_to or 200
    fits = asked.sex != "M" and (asked.age is None or lower <= asked.age <= upper)
    fits = fits or may_be_pregnant(asked, rule)
    return [one for one in questions if fits or not one.get("childbearing")]


def cleaned(
    questionnaire: Questionnaire, given: Mapping[str, Mapping[str, str]], order: Order, *, whole: bool
) -> dict[str, dict[str, str]]:
    """The answers as they are kept. Raises BadValue or MissingData, naming the question."""
    kept: dict[str, dict[str, str]] = {}
    for question in questions_for(questionnaire, order, today()):
        code = question["code"]
        place = f"{questionnaire.pk}-{code}"
        said = given.get(code, {})
        value, note = str(said.get("value", "")).strip(), str(said.get("note", "")).strip()[:200]
        if not value:
            if whole and question["kind"] in {"yesno", "choice"}:
                raise MissingData(f"{question['text']} Pick an answer.", location=place)
            continue
        kept[code] = {"value": _checked(question, value, place), **({"note": note} if note else {})}
    if not kept:
        raise MissingData("Nothing has been answered.", location="answers")
    return kept


def _checked(question: Question, value: str, place: str) -> str:
    picks = [one for one, _ in values_of(question)]
    if picks and value not in picks:
        raise BadValue("Pick one of the answers.", location=place)
    if question["kind"] == "number" and not re.fullmatch(r"\d{1,4}([.,]\d{1,2})?", value):
        raise BadValue("Write a number, for example 72 or 72.5.", location=place)
    if question["kind"] == "date" and not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", value):
        raise BadValue("Write the day as 2026-11-19, or only the year.", location=place)
    return value.replace(",", ".") if question["kind"] == "number" else value[:200]


#: What yes and no to a question mean as a statement.
_STATED = {("pregnancy", "yes"): "definite", ("pregnancy", "no"): "not"}


def statements(
    questionnaire: Questionnaire, answers: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, str]]:
    """{kind: (value, detail)} that the answers state; no device anywhere states that there is none."""
    questions: list[Question] = questionnaire.questions
    said: dict[str, tuple[str, str]] = {}
    for question in questions:
        given = answers.get(question["code"])
        kind = question.get("states")
        if given and kind:
            value = given["value"]
            said[kind] = (_STATED.get((kind, value), value), given.get("note", ""))
    devices = [
        answers.get(one["code"], {}).get("value") for one in questions if one.get("effect") == "implant"
    ]
    if devices and all(value == "no" for value in devices):
        said[Statement.Kind.IMPLANTS] = ("none", "")
    return said
