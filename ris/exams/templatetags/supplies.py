"""The contrast part of an exam's page, for whichever page includes it."""

from typing import Any

from django import template

from ris.exams.models import Exam
from ris.exams.supplying import Panel, panel

register = template.Library()


@register.simple_tag(takes_context=True)
def supply_panel(context: dict[str, Any], exam: Exam) -> Panel:
    return panel(exam, context["request"].user)
