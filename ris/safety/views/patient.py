"""What lasts of one patient: devices, reactions, values, statements; and the passport to print."""

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.core.errors import BadValue, NotFound
from ris.core.pages import see_other
from ris.patients.access import patient_for
from ris.patients.actions import survivor
from ris.patients.models import Patient
from ris.safety import actions, forms, worklists
from ris.safety.access import fact_for
from ris.safety.codes import patient_code
from ris.safety.models import Statement
from ris.safety.passport import passports_for


def page_of(patient: Patient) -> str:
    return reverse("patient_safety", args=[patient.pk])


def _context(request: UserRequest, patient: Patient) -> dict[str, object]:
    orders = worklists.open_orders(patient)
    passports = passports_for(orders)
    return {
        "patient": patient,
        "facts": worklists.facts_of(patient),
        "passports": [(order, passports[order.pk]) for order in orders],
    }


@needs("safety.view")
@require_safe
def chart(request: UserRequest, pk: int) -> HttpResponse:
    patient = patient_for(request.user, pk)
    if patient.merged_into is not None:
        return HttpResponseRedirect(page_of(survivor(patient)))
    context = _context(request, patient) | {
        "answers": [(one, worklists.mattering(one)) for one in worklists.answered_of(patient)],
        "clearances": worklists.clearances_of(patient),
        "may_note": allowed(request.user, "safety.note"),
        "may_verify": allowed(request.user, "safety.review"),
        "statement_kinds": Statement.Kind.choices,
    }
    return render(request, "safety/patient.html", context)


@needs("safety.view")
@require_safe
def card(request: UserRequest, pk: int) -> HttpResponse:
    """To print: what stands today, with the patient's number as the only code."""
    patient = patient_for(request.user, pk)
    if patient.merged_into is not None:
        return HttpResponseRedirect(reverse("patient_safety_card", args=[survivor(patient).pk]))
    context = _context(request, patient) | {"code": patient_code(patient.mrn) if patient.mrn else ""}
    return render(request, "safety/card.html", context)


@needs("safety.note")
@require_http_methods(["GET", "HEAD", "POST"])
def note(request: UserRequest, pk: int, what: str) -> HttpResponse:
    patient = patient_for(request.user, pk)
    form = forms.fact_form(what, patient, request.POST if request.method == "POST" else None)
    if form is None:
        raise NotFound("There is no such entry.")
    if request.method == "POST" and form.is_valid():
        fact = form.fact
        fact.patient = patient
        if "verified" in request.POST and allowed(request.user, "safety.review"):
            fact.verified_by = request.user
        try:
            actions.note_fact(fact, by=request.user)
        except BadValue as problem:
            form.add_error(problem.location if problem.location in form.fields else None, problem.message)
        else:
            return see_other(request, page_of(patient), f"{form.heading} is noted.")
    context = {
        "patient": patient, "form": form, "heading": f"Add: {form.heading}", "action": request.path,
        "may_verify": allowed(request.user, "safety.review") and what in {"implant", "reaction"},
    }  # fmt: skip
    return render(request, "safety/fact.html", context, status=422 if form.errors else 200)


@needs("safety.note")
@require_http_methods(["GET", "HEAD", "POST"])
def withdraw(request: UserRequest, pk: int, what: str, fact_pk: int) -> HttpResponse:
    patient = patient_for(request.user, pk)
    fact = fact_for(request.user, patient, what, fact_pk)
    form = forms.WithdrawForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        actions.withdraw_fact(fact, reason=form.cleaned_data["reason"], by=request.user)
        return see_other(request, page_of(patient), "Withdrawn. It stays in the record and counts no more.")
    context = {
        "patient": patient, "fact": fact, "form": form, "heading": "Withdraw", "action": request.path, "withdraws": True
    }  # fmt: skip
    return render(request, "safety/fact.html", context, status=422 if form.errors else 200)


@needs("safety.review")
@require_POST
def verify(request: UserRequest, pk: int, what: str, fact_pk: int) -> HttpResponse:
    """The card or letter has been seen."""
    patient = patient_for(request.user, pk)
    actions.verify_fact(fact_for(request.user, patient, what, fact_pk), by=request.user)
    return see_other(request, page_of(patient), "Verified in your name.")
