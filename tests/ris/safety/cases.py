"""Orders and answers for the tests of safety."""

from typing import Any

from ris.accounts.models import User
from ris.core.formats import today
from ris.orders.models import Order
from ris.safety import asking
from ris.safety.actions import Screening, keep_answers
from ris.safety.models import AnswerSet, SaidBy, Stage
from ris.safety.passport import passport_for
from tests import makers
from tests.cast import person

KINDS = {
    "MR": {"code": "MRKNEE", "name": "MR knee", "modality": "MR", "body_part": "Knee"},
    "MRC": {"code": "MRHEADC", "name": "MR head with contrast", "modality": "MR", "body_part": "Head", "contrast": True},
    "CT": {"code": "CTABD", "name": "CT abdomen", "modality": "CT", "body_part": "Abdomen"},
    "CTC": {"code": "CTABDC", "name": "CT abdomen with contrast", "modality": "CT", "body_part": "Abdomen", "contrast": True},
    "XRHAND": {"code": "XRHAND", "name": "XR hand", "modality": "DX", "body_part": "Hand"},
    "XA": {"code": "XALEG", "name": "Angiography leg", "modality": "XA", "body_part": "Leg"},
    "NM": {"code": "NMBONE", "name": "Bone scan", "modality": "NM", "body_part": "Extremity"},
    "US": {"code": "USABD", "name": "US abdomen", "modality": "US", "body_part": "Abdomen"},
}  # fmt: skip


def order_of(kind: str, **patient: Any) -> Order:
    """An order of a kind; by default for a woman of 58 who is asked nothing about pregnancy."""
    values = dict(KINDS[kind])
    exam = makers.make_procedure_type(values.pop("code"), **values)
    return makers.make_order(makers.make_patient(**patient), procedure_type=exam)


def screen(
    order: Order, stage: str = Stage.INTERVIEW, *, by: User | None = None, said_by: str = SaidBy.PATIENT, at: Any = None,
    **said: str,
) -> list[AnswerSet]:  # fmt: skip
    """All questions of the order answered with "no", but for `said` by code ("_" for "-")."""
    answers = {}
    for one in passport_for(order, at=at).screens:
        given = {}
        for question in asking.questions_for(one.questionnaire, order, today()):
            picks = [value for value, _ in asking.values_of(question)]
            value = said.get(question["code"].replace("-", "_"))
            if value or picks:
                given[question["code"]] = {"value": value or ("not" if "not" in picks else "no")}
        answers[one.questionnaire.pk] = given
    who = by or person("theo" if stage == Stage.INTERVIEW else "clara")
    return keep_answers(order, Screening(stage, answers, said_by, stage == Stage.INTERVIEW), by=who, at=at)
