"""Placing orders, and what is done to them before they are booked."""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.core.errors import BadValue, Duplicate, MissingData, NotFound
from ris.core.formats import today
from ris.core.pages import see_other, toast
from ris.department.models import Facility, ProcedureType
from ris.orders import actions
from ris.orders.access import order_for, patient_to_order_for
from ris.orders.forms import HOLD_REASONS, SIDES, ChangeForm, MatchForm, OrderForm, ReasonForm
from ris.orders.models import Order, RequestedProcedure
from ris.orders.worklists import done_lately, find_exams, find_practitioners, own_practitioner
from ris.patients.models import Patient


def page_of(order: Order) -> str:
    return reverse("order", args=[order.pk])


# ---- the order form


@needs("order.place")
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: UserRequest) -> HttpResponse:
    asked = request.GET.get("patient", "")
    if not asked.isdecimal():
        return toast(
            request, HttpResponseRedirect(reverse("search")), "Pick the patient first, then New order."
        )
    patient = patient_to_order_for(request.user, int(asked))
    orders_as = own_practitioner(request.user)
    if request.method != "POST":
        form = OrderForm(orders_as=orders_as, initial={"facility": Facility.objects.order_by("pk").first()})
        return _form_page(request, patient, form)
    form = OrderForm(request.POST, orders_as=orders_as)
    lately: list[Order] = []
    if form.is_valid():
        data = form.cleaned_data
        lately = done_lately(patient, data["procedure"])
        if not lately or data["again"]:
            try:
                order = actions.place_order(_new_order(patient, data), by=request.user)
            except (BadValue, MissingData, Duplicate) as problem:
                location = {"procedure_type": "procedure"}.get(problem.location, problem.location)
                form.add_error(location if location in form.fields else None, problem.message)
            else:
                return _placed(request, order)
    return _form_page(request, patient, form, lately=lately, asked=bool(lately), status=422)


def _placed(request: UserRequest, order: Order) -> HttpResponse:
    url = page_of(order)
    if "book" in request.POST and allowed(request.user, "appointment.book"):
        url = f"/schedule/{today().isoformat()}?order={order.pk}"
    name = order.patient.name
    return see_other(
        request, url, f"{name.family.upper()}, {name.given}: order {order.accession_number} is placed"
    )


def _new_order(patient: Patient, data: dict[str, Any]) -> actions.NewOrder:
    info = data["clinical_info"]
    if data["again"]:
        info = f"Ordered again: {data['again_reason']}\n{info}".strip()
    return actions.NewOrder(
        patient=patient, facility=data["facility"], procedure_type=data["procedure"], side=data["side"],
        priority=data["priority"], reason=data["reason"], clinical_info=info, ordering=data["referrer"],
        wanted_at=data["wanted"], transport=data["transport"],
    )  # fmt: skip


def _form_page(
    request: UserRequest, patient: Patient, form: OrderForm, *, lately: list[Order] | None = None,
    asked: bool = False, status: int = 200,
) -> HttpResponse:  # fmt: skip
    data = getattr(form, "cleaned_data", {})
    context = {
        "patient": patient, "form": form, "exam": data.get("procedure"), "referrer": data.get("referrer"),
        "sides": SIDES, "lately": lately or [], "asked": asked, "sites": Facility.objects.count(),
        "may_book": allowed(request.user, "appointment.book"), "chart": allowed(request.user, "patient.view"),
    }  # fmt: skip
    return render(request, "orders/new.html", context, status=status)


@needs("order.place")
@require_POST
def exam_facts(request: UserRequest, patient_pk: int) -> HttpResponse:
    """What picking an exam brings: how long it takes, its preparation, its side, whether it was done lately."""
    patient = patient_to_order_for(request.user, patient_pk)
    chosen = request.POST.get("procedure", "")
    exam = ProcedureType.objects.filter(pk=int(chosen), active=True).first() if chosen.isdecimal() else None
    context = {"exam": exam, "sides": SIDES, "lately": done_lately(patient, exam) if exam else []}
    return render(request, "orders/_exam.html", context)


@needs("home.view")
@require_POST
def catalogue_search(request: UserRequest) -> HttpResponse:
    text = request.POST.get("q", "")[:100]
    return render(request, "orders/_exam_options.html", {"exams": find_exams(text), "text": text})


@needs("order.place")
@require_POST
def practitioner_search(request: UserRequest) -> HttpResponse:
    text = request.POST.get("q", "")[:100]
    context = {"practitioners": find_practitioners(text), "text": text}
    return render(request, "orders/_practitioner_options.html", context)


# ---- what is done to an order


@needs("order.change")
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another reason, urgency or day; another exam is a replacement."""
    order = order_for(request.user, pk)
    form = ChangeForm(order, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        version = form.cleaned_data["version"]
        actions.change_order(order, form.changes, by=request.user, version=version)
        return see_other(request, page_of(order), "The order is changed")
    context = {"heading": "Change the order", "order": order, "form": form}
    return render(request, "orders/change.html", context, status=422 if form.is_bound else 200)


@needs("order.change")
@require_http_methods(["GET", "HEAD", "POST"])
def hold(request: UserRequest, pk: int) -> HttpResponse:
    order = order_for(request.user, pk)
    form = ReasonForm(HOLD_REASONS, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        actions.hold_order(order, reason=form.cleaned_data["why"], by=request.user)
        return see_other(
            request, page_of(order), "The order is held", undo=reverse("order_release", args=[pk])
        )
    context = {"heading": "Hold the order", "order": order, "form": form, "act": "Hold", "url": request.path}
    return render(request, "orders/reason.html", context, status=422 if form.is_bound else 200)


@needs("order.change")
@require_POST
def release(request: UserRequest, pk: int) -> HttpResponse:
    order = order_for(request.user, pk)
    actions.release_order(order, by=request.user)
    return see_other(request, page_of(order), "The order can be booked again")


@needs("order.change")
@require_POST
def side(request: UserRequest, pk: int) -> HttpResponse:
    order = order_for(request.user, pk)
    procedure = _procedure(order, request.POST.get("requested", ""))
    changed = actions.set_side(procedure, request.POST.get("side", ""), by=request.user)
    return see_other(request, page_of(order), f"The side is {changed.get_side_display().lower()}")


def _procedure(order: Order, pk: str) -> RequestedProcedure:
    for procedure in order.procedures.all():
        if str(procedure.pk) == pk:
            return procedure
    raise NotFound("This order has no such exam.")


@needs("order.map_procedure")
@require_http_methods(["GET", "HEAD", "POST"])
def match(request: UserRequest, pk: int, procedure_pk: int) -> HttpResponse:
    """Say which exam a code means that nobody here knew."""
    order = order_for(request.user, pk)
    procedure = _procedure(order, str(procedure_pk))
    form = MatchForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        data = form.cleaned_data
        try:
            done = actions.map_procedure(
                procedure, data["procedure"], by=request.user, remember=data["remember"], side=data["side"]
            )
        except (BadValue, MissingData) as problem:
            form.add_error("side" if problem.location == "side" else None, problem.message)
        else:
            return see_other(request, page_of(order), f"{procedure.code} means {done.label}")
    context = {"heading": f"Which exam is {procedure.code}?", "order": order, "procedure": procedure, "form": form,
               "sides": SIDES}  # fmt: skip
    return render(request, "orders/match.html", context, status=422 if form.is_bound else 200)
