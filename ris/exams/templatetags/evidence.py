"""By which evidence an exam was ended."""

from typing import Any

from django import template

from ris.accounts.permissions import allowed
from ris.exams.models import CompletionByEvidence, Exam
from ris.exams.states import ExamStatus

register = template.Library()


@register.inclusion_tag("exams/_by_evidence.html", takes_context=True)
def by_evidence(context: dict[str, Any], exam: Exam) -> dict[str, Any]:
    """The evidence, who it was taken by, and the way back while the exam is complete."""
    last = CompletionByEvidence.objects.filter(exam=exam).select_related("by").order_by("-pk").first()
    user = context["request"].user
    return {
        "last": last, "exam": exam, "csrf_token": context.get("csrf_token"),
        "may_reopen": exam.status == ExamStatus.COMPLETED and allowed(user, "exam.perform"),
    }  # fmt: skip
