"""The radar's pages: what is late, what was said about it, and when something counts as late."""

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import Role
from ris.accounts.permissions import RIGHTS, allowed
from ris.audit.trail import record_access
from ris.core.errors import NotFound, RisError
from ris.core.formats import local
from ris.core.pages import is_live, see_other, unchanged
from ris.core.stuck import kinds
from ris.department.models import Facility, Modality, Station
from ris.department.sections import sections_for
from ris.desk import radar as worklist
from ris.desk import radar_actions as actions
from ris.desk.models import RadarRule
from ris.exams.actions import set_completion_rule
from ris.exams.completion import USUAL
from ris.exams.models import CompletionRule
from ris.exams.models_completion import EvidenceKind, Response

VIEWS = {"mine": "For me", "all": "All", "snoozed": "Snoozed"}


@needs("radar.view")
@require_safe
def radar(request: UserRequest) -> HttpResponse:
    """What is late: the user's own first."""
    asked = request.GET
    view = asked.get("view", "")
    if view not in VIEWS:
        view = "mine" if any(allowed(request.user, one.right) for one in kinds().values()) else "all"
    role, kind, site = asked.get("role", ""), asked.get("kind", ""), asked.get("site", "")
    look = worklist.look(
        request.user, mine=view == "mine", role=role, kind=kind, snoozed=view == "snoozed",
        site=int(site) if site.isdigit() else None,
    )  # fmt: skip
    version = look.version
    if unchanged(request, version):
        return HttpResponse(status=204)
    if not is_live(request):
        patients = sorted({item.patient.pk for item in look.items if item.patient})
        record_access(request.user, "radar.list", count=len(look.items), patients=patients)
    context: dict[str, Any] = {
        "look": look, "view": view, "views": VIEWS, "version": version, "role": role, "kind": kind, "site": site,
        "rows": [(item, item.late(look.at), item.kind.name in _PATIENTLESS) for item in look.items],
        "counts": [(kinds()[name], count) for name, count in worklist.in_workflow(look.items).items()],
        "kinds": kinds().values(), "roles": _roles(), "sites": Facility.objects.order_by("name"),
        "filtered": bool(role or kind or site), "may_name": allowed(request.user, "patient.view"),
        "may_rule": allowed(request.user, "department.view"),
    }  # fmt: skip
    return render(request, f"desk/{'_' if is_live(request) else ''}radar.html", context)


_PATIENTLESS = {"images.unmatched"}


def _roles() -> list[tuple[str, str]]:
    """The roles that put anything right."""
    acting = {role for kind in kinds().values() for role in RIGHTS[kind.right]}
    return [(str(role), role.label) for role in Role if str(role) in acting and role != Role.SYSTEM]


def _back(request: UserRequest) -> str:
    view = request.POST.get("view", "")
    return f"{reverse('radar')}?view={view}" if view in VIEWS else reverse("radar")


@needs("radar.view")
@require_POST
def take(request: UserRequest, kind: str, pk: int) -> HttpResponse:
    actions.take(kind, pk, by=request.user)
    return see_other(request, _back(request), "It is yours", undo=reverse("radar_leave", args=[kind, pk]))


@needs("radar.view")
@require_POST
def leave(request: UserRequest, kind: str, pk: int) -> HttpResponse:
    actions.leave(kind, pk, by=request.user)
    return see_other(
        request, _back(request), "It is nobody's again", undo=reverse("radar_take", args=[kind, pk])
    )


@needs("radar.view")
@require_POST
def wake(request: UserRequest, kind: str, pk: int) -> HttpResponse:
    actions.wake(kind, pk, by=request.user)
    return see_other(request, _back(request), "It is back on the list")


def _moments(now: datetime) -> dict[str, tuple[str, datetime]]:
    """What people mean by later."""
    here = local(now)
    tomorrow = datetime.combine(here.date() + timedelta(days=1), time(8), tzinfo=here.tzinfo)
    monday = tomorrow + timedelta(days=(7 - tomorrow.weekday()) % 7)
    return {
        "1h": ("One hour", now + timedelta(hours=1)),
        "4h": ("Four hours", now + timedelta(hours=4)),
        "tomorrow": ("Tomorrow 08:00", tomorrow),
        "monday": (f"{monday:%A} 08:00", monday),
    }


class SnoozeForm(forms.Form):
    until = forms.ChoiceField(label="Until", choices=[], widget=forms.RadioSelect)
    reason = forms.CharField(label="Why it can wait", max_length=200, widget=forms.TextInput)

    def __init__(self, data: Any, *, now: datetime) -> None:
        super().__init__(data, initial={"until": "1h"})
        self.moments = _moments(now)
        self.fields["until"].choices = [(key, word) for key, (word, _) in self.moments.items()]  # type: ignore[attr-defined]


@needs("radar.view")
@require_http_methods(["GET", "HEAD", "POST"])
def snooze(request: UserRequest, kind: str, pk: int) -> HttpResponse:
    """Leave it off the list for a while, with the reason."""
    found = kinds().get(kind)
    if found is None:
        raise NotFound("There is no such kind of being stuck.")
    form = SnoozeForm(request.POST if request.method == "POST" else None, now=timezone.now())
    if form.is_bound and form.is_valid():
        until = form.moments[form.cleaned_data["until"]][1]
        try:
            actions.snooze(kind, pk, until=until, reason=form.cleaned_data["reason"], by=request.user)
        except RisError as problem:
            if problem.code == "not_allowed":
                raise
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, _back(request), "Snoozed", undo=reverse("radar_wake", args=[kind, pk]))
    context = {"form": form, "kind": found, "heading": f"Snooze: {found.word.lower()}", "url": request.path}
    return render(request, "desk/radar_snooze.html", context, status=422 if form.errors else 200)


# When something counts as late


class DeadlineForm(forms.Form):
    """A kind's minutes, everywhere or at one site."""

    facility = forms.ModelChoiceField(
        Facility.objects.order_by("name"), required=False, label="Site", empty_label="Every site"
    )
    routine = forms.IntegerField(label="Routine, minutes", min_value=0, max_value=525_600)
    urgent = forms.IntegerField(label="Urgent, minutes", min_value=0, max_value=525_600)
    stat = forms.IntegerField(label="STAT, minutes", min_value=0, max_value=525_600)
    active = forms.BooleanField(label="Watched", required=False)


@needs("department.view")
@require_safe
def rules(request: UserRequest) -> HttpResponse:
    """Every kind with its deadlines, and what evidence does."""
    own: dict[str, list[RadarRule]] = {}
    for one in RadarRule.objects.select_related("facility").order_by("facility__name"):
        own.setdefault(one.kind, []).append(one)
    context = {
        "kinds": [(kind, own.get(kind.name, []), _who(kind.right)) for kind in kinds().values()],
        "completion": CompletionRule.objects.select_related("station").order_by("station", "modality", "evidence"),
        "usual": [(kind.label, response.label, wait) for kind, (response, wait) in USUAL.items()],
        "may_change": allowed(request.user, "department.change"), "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "desk/radar_rules.html", context)


def _who(right: str) -> str:
    return ", ".join(Role(role).label for role in sorted(RIGHTS[right]) if role != Role.SYSTEM)


@needs("department.change")
@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: UserRequest, kind: str) -> HttpResponse:
    """Set a kind's deadlines, or take a site's own back."""
    found = kinds().get(kind)
    if found is None:
        raise NotFound("There is no such kind of being stuck.")
    within = found.within
    initial = {"routine": within.routine, "urgent": within.urgent, "stat": within.stat, "active": True}
    form = DeadlineForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_bound and form.is_valid():
        values = form.cleaned_data
        if "usual" in request.POST:
            actions.usual_deadline(kind, values["facility"], by=request.user)
            return see_other(request, reverse("radar_rules"), f"{found.word} has its usual deadline")
        try:
            actions.set_deadline(kind, values.pop("facility"), by=request.user, **values)
        except RisError as problem:
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, reverse("radar_rules"), f"The deadline of {found.word.lower()} is set")
    context = {"form": form, "kind": found, "heading": f"Deadline: {found.word.lower()}", "url": request.path}
    return render(request, "desk/radar_rule.html", context, status=422 if form.errors else 200)


class CompletionForm(forms.Form):
    """What a kind of evidence does, and where."""

    evidence = forms.ChoiceField(label="When", choices=EvidenceKind.choices)
    station = forms.ModelChoiceField(
        Station.objects.filter(active=True).order_by("ae_title"), required=False, label="At the station",
        empty_label="Any station",
    )  # fmt: skip
    modality = forms.ChoiceField(
        label="Or for the modality", required=False, choices=[("", "Any modality"), *Modality.choices]
    )
    response = forms.ChoiceField(label="Then", choices=Response.choices)
    minutes = forms.IntegerField(
        label="After it has stood still for, minutes", min_value=0, max_value=1440, initial=20
    )


@needs("department.change")
@require_http_methods(["GET", "HEAD", "POST"])
def completion_rule(request: UserRequest) -> HttpResponse:
    """Set what evidence does to exams that their machines do not end."""
    form = CompletionForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            set_completion_rule(form.cleaned_data.pop("evidence"), by=request.user, **form.cleaned_data)
        except RisError as problem:
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, reverse("radar_rules"), "The rule is set")
    context = {"form": form, "heading": "What evidence does", "url": request.path}
    return render(request, "desk/radar_rule.html", context, status=422 if form.errors else 200)
