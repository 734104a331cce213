"""The questions of an order, its passport, and who clears what (ux.md 2.10)."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, MissingData, NotFound
from ris.core.pages import is_live, see_other, unchanged
from ris.orders.access import order_for
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.safety import actions, forms, worklists
from ris.safety.models import Stage
from ris.safety.passport import fingerprint, passport_for
from ris.safety.rules import RULES

_STARTABLE = {OrderStatus.REQUESTED, OrderStatus.SCHEDULED}


@needs("safety.screen")
@require_http_methods(["GET", "HEAD", "POST"])
def questions(request: UserRequest, pk: int) -> HttpResponse:
    """The safety questions at the stage this user asks them; who scans goes through them with the patient."""
    order = order_for(request.user, pk)
    passport = passport_for(order)
    stages = [
        stage for stage in Stage
        if stage != Stage.ORDER and (stage != Stage.INTERVIEW or allowed(request.user, "safety.review"))
    ]  # fmt: skip
    asked = request.GET.get("stage", "")
    stage = Stage(asked) if asked in stages else stages[-1]
    sent = request.POST if request.method == "POST" else None
    sections = forms.sections_of(order, passport.screens, sent)
    form = forms.SignForm(sent)
    status = 200
    if sent is not None and form.is_valid():
        screening = actions.Screening(
            stage,
            forms.answers_in(sent, sections),
            form.cleaned_data["said_by"],
            form.cleaned_data["reviewed"],
        )
        try:
            actions.keep_answers(order, screening, by=request.user)
        except (MissingData, BadValue) as problem:
            _say(sections, form, problem)
        else:
            return see_other(request, _onward(request, order), "The answers are kept.")
    if sent is not None:
        status = 422
    context = {
        "order": order, "patient": order.patient, "passport": passport, "sections": sections, "form": form,
        "stage": stage, "stages": stages, "interview": stage == Stage.INTERVIEW,
        "faults": [row for section in sections for row in section.rows if row.error],
    }  # fmt: skip
    return render(request, "safety/questions.html", context, status=status)


def _say(sections: list[forms.Section], form: forms.SignForm, problem: MissingData | BadValue) -> None:
    """The verb's refusal, at its question; all that are still open, at once."""
    places = {row.place: row for section in sections for row in section.rows}
    if problem.location not in places:
        form.add_error("reviewed" if problem.location == "reviewed" else None, problem.message)
        return
    places[problem.location].error = (
        "Pick an answer." if isinstance(problem, MissingData) else problem.message
    )
    if isinstance(problem, MissingData):
        for row in places.values():
            if row.values and not row.value:
                row.error = "Pick an answer."


def _onward(request: UserRequest, order: Order) -> str:
    """Who scans goes on to the start, the desk back to its board."""
    if (
        allowed(request.user, "exam.perform")
        and order.status in _STARTABLE
        and request.GET.get("stage") != "arrival"
    ):
        return f"/orders/{order.pk}/start"
    return reverse("patient_safety", args=[order.patient_id])


@needs("safety.screen")
@require_POST
def ask(request: UserRequest, pk: int, rule: str) -> HttpResponse:
    """Call for a clearance from the card at the scanner."""
    order = order_for(request.user, pk)
    if rule not in RULES:
        raise NotFound("There is no such rule.")
    actions.ask_clearance(order, rule, by=request.user, note=request.POST.get("note", ""))
    back = request.headers.get("Referer", "")
    path = f"/orders/{order.pk}/start"
    # Back to the page of ours it was asked from.
    for known in (f"/orders/{order.pk}/safety", f"/orders/{order.pk}/start", f"/p/{order.patient_id}/safety"):
        if known in back:
            path = known
    return see_other(request, path, "Asked. It stands on the list of those who can clear it.")


@needs("safety.clear")
@require_http_methods(["GET", "HEAD", "POST"])
def clear(request: UserRequest, pk: int, rule: str) -> HttpResponse:
    """Let it pass for today, or say no; either with grounds."""
    order = order_for(request.user, pk)
    passport = passport_for(order)
    found = [one for one in passport.findings if one.rule == rule and one.is_open]
    form = forms.ClearForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        granted = "refuse" not in request.POST
        actions.clear_rule(order, rule, reason=form.cleaned_data["reason"], by=request.user, granted=granted)
        said = "Cleared for today." if granted else "Refused. The card at the scanner says so."
        return see_other(request, reverse("safety"), said)
    context = {
        "order": order, "patient": order.patient, "passport": passport, "findings": found, "form": form, "rule": rule,
        "heading": "Clear or refuse",
    }  # fmt: skip
    return render(request, "safety/clear.html", context, status=422 if form.errors else 200)


@needs("safety.clear")
@require_safe
def asked(request: UserRequest) -> HttpResponse:
    """Who stands at a scanner and waits for a word."""
    version = fingerprint()
    if unchanged(request, version):
        return HttpResponse(status=204)
    rows = worklists.asked_clearances()
    if not is_live(request):
        record_access(request.user, "safety.list", count=len(rows))
    template = "safety/_asked.html" if is_live(request) else "safety/asked.html"
    return render(request, template, {"rows": rows, "version": version})
