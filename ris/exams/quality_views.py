"""For who answers for the rooms: repeats and rejects by reason, exams above their dose level, the levels themselves."""

from datetime import timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed, require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.core.pages import see_other
from ris.department.sections import sections_for
from ris.exams.actions.levels import save_level
from ris.exams.forms import LevelForm
from ris.exams.levels import exams_over_level, repeats
from ris.exams.models import DoseReferenceLevel

_SPANS = (7, 30, 90)


@needs("exam.reconcile")
@require_safe
def quality(request: UserRequest) -> HttpResponse:
    asked = request.GET.get("days", "")
    days = int(asked) if asked in {str(one) for one in _SPANS} else 30
    over = exams_over_level(days)
    record_access(request.user, "exam.quality", count=len(over))
    context = {
        "days": days,
        "spans": _SPANS,
        "repeats": repeats(timezone.now() - timedelta(days=days)),
        "over": over,
        "can_see_levels": allowed(request.user, "department.view"),
    }
    return render(request, "exams/quality.html", context)


@needs("department.view")
@require_safe
def levels(request: UserRequest) -> HttpResponse:
    rows = DoseReferenceLevel.objects.select_related("procedure_type")
    context = {
        "page": Paginator(rows, 60).get_page(request.GET.get("page")),
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "exams/levels.html", context)


@needs("department.view")
@require_http_methods(["GET", "HEAD", "POST"])
def level(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One level in its form. Who may only look gets it without the button to save."""
    found = DoseReferenceLevel.objects.filter(pk=pk).first() if pk else DoseReferenceLevel()
    if found is None:
        raise NotFound("There is no such level.")
    form = LevelForm(request.POST if request.method == "POST" else None, instance=found)
    if request.method == "POST":
        require(request.user, "department.change")
        if form.is_valid():
            save_level(form.instance, by=request.user)
            return see_other(request, "/admin/dose-levels", "The level is saved.")
    context: dict[str, Any] = {
        "form": form,
        "heading": "Dose level" if pk else "New dose level",
        "may_change": allowed(request.user, "department.change"),
        "action": request.path,
    }
    return render(request, "exams/level.html", context, status=422 if form.errors else 200)
