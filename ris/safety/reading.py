"""What a requester told with the order: answers to the placer's questions (OBX after OBR) as facts and answers."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from ris.core.formats import local
from ris.core.names import fold
from ris.orders.models import Answer, Order
from ris.patients.models import Sex
from ris.safety.models import PatientFact, Question, Questionnaire, RenalValue, Statement
from ris.safety.passport import applies, asked_of
from ris.safety.rules import site_rules
from ris.safety.states import QuestionnaireStatus

#: LOINC codes of an estimated filtration rate, of creatinine in serum or blood, and of pregnancy.
_EGFR = {
    "33914-3", "62238-1", "69405-9", "48642-3", "48643-1", "77147-7", "88293-6", "88294-4", "98979-8", "98980-6"
}  # fmt: skip
_CREATININE = {"2160-0", "38483-4", "14682-9"}
_PREGNANCY = {"82810-3", "11449-6"}
_NOT_NUMBER = re.compile(r"[^0-9.,]")
_UMOL_IN_MG_DL = Decimal("88.42")


def told_with(
    order: Order,
) -> tuple[list[PatientFact], list[tuple[Questionnaire, dict[str, dict[str, str]]]]]:
    """(facts not saved yet, answers by questionnaire)."""
    said: list[Answer] = order.answers
    if not said:
        return [], []
    facts: list[PatientFact] = [*_renal(order, said), *_pregnancy(said)]
    rules = site_rules()
    asked = asked_of(order, local(order.ordered_at).date())
    answers = []
    for one in Questionnaire.objects.filter(status=QuestionnaireStatus.PUBLISHED):
        if applies(one, asked, rules) and (given := _answered(one.questions, said)):
            answers.append((one, given))
    return facts, answers


def _words(answer: Answer) -> str:
    return fold(f"{answer['code']} {answer['question']}")


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(_NOT_NUMBER.sub("", text).replace(",", ".") or "x")
    except InvalidOperation:
        return None


def _renal(order: Order, said: Iterable[Answer]) -> Iterator[RenalValue]:
    day = local(order.ordered_at).date()
    measured: dict[str, Decimal | None] = {"egfr": None, "creatinine": None}
    for one in said:
        words, number = _words(one), _number(one["value"])
        if one["code"] in _EGFR or "EGFR" in words or "GFR" in words.split():
            measured["egfr"] = number
        elif one["code"] in _CREATININE or "CREATININE" in words or "KREATININ" in words:
            molar = "MOL" in one["units"].upper()
            measured["creatinine"] = number / _UMOL_IN_MG_DL if molar and number else number
    egfr, creatinine = measured["egfr"], measured["creatinine"]
    calculated = egfr is None
    if egfr is None and creatinine:
        asked = asked_of(order, day)
        egfr = egfr_of(creatinine, asked.age, asked.sex)
    if egfr is not None and 0 < egfr <= 250:
        yield RenalValue(
            egfr=egfr.quantize(Decimal(1)), measured_on=day, calculated=calculated,
            creatinine=creatinine.quantize(Decimal("0.01")) if creatinine and creatinine < 100 else None,
        )  # fmt: skip


def egfr_of(creatinine: Decimal, age: int | None, sex: str) -> Decimal | None:
    """The eGFR of an adult from creatinine in mg/dL (CKD-EPI 2021, without race); None where it does not apply."""
    if age is None or age < 18 or sex not in {Sex.FEMALE, Sex.MALE} or creatinine <= 0:
        return None
    kappa, alpha, factor = (0.7, -0.241, 1.012) if sex == Sex.FEMALE else (0.9, -0.302, 1.0)
    ratio = float(creatinine) / kappa
    value = 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.2 * 0.9938**age * factor
    return Decimal(round(value))


def _pregnancy(said: Iterable[Answer]) -> Iterator[Statement]:
    for one in said:
        if one["code"] in _PREGNANCY or "PREGNAN" in _words(one):
            yield Statement(
                kind=Statement.Kind.PREGNANCY, value=_pregnant(one["value"]), detail=one["value"][:200]
            )
            return


def _pregnant(value: str) -> str:
    words = fold(value)
    if words.startswith("N") or "NOT PREGNANT" in words:
        return "not"
    if "POSSIBL" in words or "MAY" in words or "UNSURE" in words:
        return "possible"
    return "definite" if words in {"Y", "YES", "B6", "TRUE"} or "PREGNANT" in words else "unknown"


def _answered(questions: Iterable[Question], said: Iterable[Answer]) -> dict[str, dict[str, str]]:
    """The yes and no the requester gave to the same questions."""
    given: dict[str, dict[str, str]] = {}
    for question in questions:
        names = [fold(name) for name in question.get("asked_as", [])]
        for one in said:
            if question["kind"] == "yesno" and any(name in _words(one) for name in names):
                words = fold(one["value"])
                value = {
                    "Y": "yes",
                    "YES": "yes",
                    "TRUE": "yes",
                    "N": "no",
                    "NO": "no",
                    "FALSE": "no",
                    "NONE": "no",
                }
                short = value.get(words, "unknown")
                given[question["code"]] = {
                    "value": short,
                    **({} if words in value else {"note": one["value"][:200]}),
                }
    return given
