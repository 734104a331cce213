"""What pages above the exams show of them: the talk, the questions that wait, what happened."""

from collections.abc import Iterable
from typing import Any

from django import template

from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.exams.models import Exam, ExamEvent
from ris.exams.states import EventKind
from ris.exams.talk import talk_context, talks_context, unseen_by
from ris.orders.models import Order

register = template.Library()


@register.inclusion_tag("exams/_talk.html", takes_context=True)
def talk(context: dict[str, Any], order: Order) -> dict[str, Any]:
    return {**talk_context(context["request"].user, order), "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("exams/_talks.html", takes_context=True)
def talks(context: dict[str, Any]) -> dict[str, Any]:
    return talks_context(context["request"].user)


@register.simple_tag
def may_talk(user: object) -> bool:
    return isinstance(user, User) and allowed(user, "exam.talk")


@register.simple_tag(takes_context=True)
def unseen_of(context: dict[str, Any], order: Order) -> int:
    """How many lines of the other side nobody here has acknowledged."""
    return unseen_by(context["request"].user).filter(order=order).count()


@register.simple_tag
def happened(exams: Iterable[Exam]) -> list[ExamEvent]:
    """What was noted of these exams and not withdrawn, in order of time."""
    return list(
        ExamEvent.objects.filter(exam__in=list(exams), withdrawal=None)
        .exclude(kind=EventKind.WITHDRAWN)
        .select_related("by")
    )


@register.filter
def of(rows: dict[int, Any], key: int) -> Any:
    """What a dict of facts has for a row."""
    return rows.get(key)
