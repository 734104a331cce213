"""Alarms: what is wrong now, who sees to it, and what has been wrong."""

from typing import Any

from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from interfaces import alarms, worklists
from interfaces.models import Alarm, AlarmRule, Direction
from interfaces.states import InboundState, OutboundState
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.core.pages import is_live, see_other, unchanged

_HISTORY = 100


def banner() -> dict[str, Any]:
    """The alarms that every page of the console begins with: those that nobody has taken before the others."""
    rows = Alarm.objects.filter(cleared_at=None).select_related("endpoint", "owner")
    found = rows.order_by(F("owner").asc(nulls_first=True), "started_at", "pk")[:9]
    return {"alarms": [(one, alarms.words_for(one)) for one in found]}


@require_safe
@needs("message.view")
def alarm_list(request: UserRequest) -> HttpResponse:
    """Open alarms, and the last that cleared."""
    rows = Alarm.objects.select_related("endpoint", "owner")
    now = list(rows.filter(cleared_at=None).order_by("-started_at"))
    past = list(rows.exclude(cleared_at=None).order_by("-cleared_at")[:_HISTORY])
    version = (
        ".".join(f"{one.pk}:{one.count}:{one.owner_id}:{bool(one.quiet_until)}" for one in now)
        + f"|{past[0].pk if past else 0}"
    )
    if unchanged(request, version):
        return HttpResponse(status=204)
    context = {
        "now": [(one, alarms.words_for(one)) for one in now], "past": [(one, alarms.words_for(one)) for one in past],
        "version": version, "may_act": allowed(request.user, "case.settle"),
    }  # fmt: skip
    return render(request, f"interfaces/{'_' if is_live(request) else ''}alarms.html", context)


def _alarm(pk: int) -> Alarm:
    found = Alarm.objects.select_related("endpoint").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such alarm.")
    return found


@require_safe
@needs("message.view")
def target(request: UserRequest, pk: int) -> HttpResponse:
    """Where the trouble of an alarm is: the first failing message, or the list to look at."""
    alarm = _alarm(pk)
    record_access(request.user, "alarm.view", subject=f"alarm:{pk}")
    if alarm.rule == AlarmRule.CASES:
        return redirect("cases")
    if alarm.rule == AlarmRule.STATION:
        return redirect("modalities")
    if alarm.rule == AlarmRule.CERTIFICATE:
        return redirect("admin_partners")
    return redirect(_message_of(alarm) or reverse("lines"))


def _message_of(alarm: Alarm) -> str:
    """The page of the first message that has the trouble."""
    incoming = alarm.endpoint is None or alarm.endpoint.direction == Direction.IN
    if alarm.rule == AlarmRule.REFUSALS and incoming:
        refused = worklists.inbound().filter(
            endpoint=alarm.endpoint, status__in=[InboundState.REJECTED, InboundState.FAILED]
        )[:200]
        for came in refused:
            if alarms.cause_of(f"{came.error_location} {came.error_text}") == alarm.cause:
                return reverse("message_in", args=[came.pk])
    elif alarm.rule == AlarmRule.REFUSALS:
        stuck = (
            worklists.outbound()
            .filter(endpoint=alarm.endpoint, status=OutboundState.REJECTED)
            .order_by("pk")[:200]
        )
        for one in stuck:
            if alarms.cause_of(f"{one.ack_code} {one.error_text}") == alarm.cause:
                return reverse("message_out", args=[one.pk])
    elif not incoming:
        waiting = worklists.outbound().filter(
            endpoint=alarm.endpoint, status__in=[OutboundState.QUEUED, OutboundState.SENT]
        )
        head = waiting.order_by("pk").first()
        return reverse("message_out", args=[head.pk]) if head else ""
    return ""


@require_POST
@needs("case.settle")
def take(request: UserRequest, pk: int) -> HttpResponse:
    alarms.take(_alarm(pk), by=request.user)
    return see_other(request, reverse("alarms"), "It is yours", undo=reverse("alarm_leave", args=[pk]))


@require_POST
@needs("case.settle")
def leave(request: UserRequest, pk: int) -> HttpResponse:
    alarms.leave(_alarm(pk), by=request.user)
    return see_other(
        request, reverse("alarms"), "It is nobody's again", undo=reverse("alarm_take", args=[pk])
    )


@require_POST
@needs("case.settle")
def quiet(request: UserRequest, pk: int) -> HttpResponse:
    """Nobody is mailed of it for some hours (0: from now on again)."""
    hours = request.POST.get("hours", "8")
    number = int(hours) if hours.isdigit() else -1
    alarms.quiet(_alarm(pk), number, by=request.user)
    said = f"Quiet for {number} hours" if number else "It is told of again"
    return see_other(request, reverse("alarms"), said)
