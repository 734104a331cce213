"""Pages that read across the workflow: search and palette, the patient's chart, the order lists and the order."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet, prefetch_related_objects
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import cached_property
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import Role, User
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, MissingData
from ris.core.formats import local, today
from ris.core.pages import is_live, see_other, unchanged
from ris.department.models import Modality
from ris.desk import chart
from ris.desk.search import Results, search
from ris.orders.access import order_for
from ris.orders.actions import change_procedure, request_again
from ris.orders.forms import CANCEL_REASONS, SIDES, TRANSPORT, MatchForm, ReasonForm
from ris.orders.states import OrderStatus, Priority
from ris.orders.worklists import ALL_SHOWN, VIEWS, counts, missing, order_list, version
from ris.patients.access import patient_for
from ris.patients.actions import survivor
from ris.patients.merge_actions import merges_of
from ris.protocolling.worklists import protocols_for
from scheduling.actions import cancel_order, replace_order
from scheduling.models import Appointment
from scheduling.states import PENDING

# ---- search


@needs("home.view")
@require_http_methods(["GET", "HEAD", "POST"])
def search_page(request: UserRequest) -> HttpResponse:
    """The whole page. What is searched for comes by POST: an address would carry names into logs."""
    results = _searched(request, limit=40) if request.method == "POST" else Results("")
    return render(request, "desk/search.html", {"results": results, "may": _may(request.user)})


@needs("home.view")
@require_POST
def palette(request: UserRequest) -> HttpResponse:
    return render(request, "desk/_palette_results.html", {"results": _searched(request, limit=8)})


def _searched(request: UserRequest, *, limit: int) -> Results:
    results = search(request, request.POST.get("q", ""), limit=limit)
    shown = [row.found.patient.pk for row in results.patients]
    if shown or results.exams:
        orders = [entry.order.pk for entry in results.exams]
        record_access(request.user, "patient.search", count=len(shown), patients=shown, orders=orders)
    return results


def _may(user: User) -> dict[str, bool]:
    """What the pages offer this user; the verbs ask again."""
    return {
        "order": allowed(user, "order.place"),
        "change": allowed(user, "order.change"),
        "cancel": allowed(user, "order.cancel"),
        "match": allowed(user, "order.map_procedure"),
        "protocol": allowed(user, "protocol.view"),
        "book": allowed(user, "appointment.book"),
        "schedule": allowed(user, "schedule.view"),
        "chart": allowed(user, "patient.view"),
        "register": allowed(user, "patient.register"),
        "edit": allowed(user, "patient.update"),
        "merge": allowed(user, "patient.merge"),
        "exam": allowed(user, "exam.view"),
        "report": allowed(user, "report.view"),
        "drafts": set(user.roles) != {Role.REFERRER} and allowed(user, "report.view"),
        "messages": allowed(user, "message.view"),
        "log": allowed(user, "audit.view"),
    }


# ---- the patient

ORDERS_A_PAGE = 100


@needs("patient.view")
@require_safe
def patient(request: UserRequest, pk: int) -> HttpResponse:
    found = patient_for(request.user, pk)
    if found.merged_into is not None:
        return HttpResponseRedirect(reverse("patient", args=[survivor(found).pk]))
    page = Paginator(chart.orders_of(request.user, found), ORDERS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "patient": found,
        "timeline": chart.timeline(page.object_list, request.GET.get("m", "")),
        "page": page,
        "visits": found.visits.select_related("attending").order_by("-pk")[:10],
        "merges": merges_of(found),
        "may": _may(request.user),
        "today": today(),
    }
    return render(request, "desk/patient.html", context)


@needs("audit.view")
@require_safe
def access_log(request: UserRequest, pk: int) -> HttpResponse:
    """Who looked at this patient: a question to the audit page."""
    return HttpResponseRedirect(f"{reverse('audit')}?question=patient&patient={pk}")


# ---- orders


class _Newest(Paginator):  # type: ignore[type-arg]  # no generic at run time
    """Counts no further than what is shown at all: counting every order ever placed takes longer than the page."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return len(self.object_list.values_list("pk", flat=True)[:ALL_SHOWN])


@needs("order.view")
@require_http_methods(["GET", "HEAD", "POST"])
def orders(request: UserRequest) -> HttpResponse:
    """The list of a view. Filters stand in the address; a name or number to look for comes by POST."""
    seen = version(request.user)
    if unchanged(request, seen):
        return HttpResponse(status=204)
    asked = request.GET
    referrer = set(request.user.roles) == {Role.REFERRER}
    view = asked.get("view", "")
    if view == "to-protocol":
        return HttpResponseRedirect(reverse("protocols"))
    if view not in VIEWS:
        view = "all" if referrer else "to-book"
    text = request.POST.get("q", "").strip()[:200]
    modality, urgency = asked.get("m", ""), asked.get("priority", "")
    rows = order_list(request.user, "all" if text else view, modality=modality, priority=urgency, text=text)
    page = _Newest(rows, 50).get_page(asked.get("page"))
    shown = list(page.object_list)
    booked = chart.booked_times(shown) if allowed(request.user, "schedule.view") else {}
    context: dict[str, Any] = {
        "view": view, "views": VIEWS, "page": page, "text": text, "version": seen, "modality": modality,
        "priority": urgency, "modalities": Modality.choices, "may": _may(request.user), "today": today(),
        "rows": [(order, missing(order), booked.get(order.pk)) for order in shown],
        "mixed": bool(text) or view in {"codes", "all"}, "priorities": Priority.choices,
    }  # fmt: skip
    if not is_live(request):
        record_access(request.user, "order.list", count=len(shown))
        context["counts"] = counts(request.user)
    return render(request, f"desk/{'_' if is_live(request) else ''}orders.html", context)


@needs("order.view")
@require_safe
def order(request: UserRequest, pk: int) -> HttpResponse:
    found = order_for(request.user, pk)
    may = _may(request.user)
    prefetch_related_objects([found], *chart.course())
    entries = [entry for entry in chart.entries_of(found) if not entry.missed]
    appointments = [(one, _in_schedule(one)) for one in found.appointments.all()]
    planned = [url for one, url in appointments if one.status in PENDING and may["schedule"]]
    waiting = found.status == OrderStatus.REQUESTED
    unknown = any(one.procedure_type is None for one in found.procedures.all())
    context = {
        "order": found, "patient": found.patient, "entries": entries, "appointments": appointments,
        "protocols": protocols_for([found]).get(found.pk, []) if may["protocol"] else [],
        "history": chart.history(found), "may": may, "sides": SIDES, "today": today(),
        "can_book": waiting and may["book"] and not missing(found),
        "can_hold": waiting and may["change"],
        "can_release": found.status == OrderStatus.HELD and may["change"],
        "can_cancel": may["cancel"] and found.flow.allows(found.status, OrderStatus.CANCELLED),
        "can_change": found.status in {OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED} and may["change"],
        "can_edit": may["change"] and not found.flow.is_final(found.status),
        "can_replace": may["change"] and (found.flow.allows(found.status, OrderStatus.CANCELLED) or found.status in _BEGUN),
        "family": chart.family(found),
        "can_match": unknown and found.status in {OrderStatus.REQUESTED, OrderStatus.HELD} and may["match"],
        "planned": planned[0] if planned else "", "transport": dict(TRANSPORT).get(found.transport, found.transport),
        "ways": [("in", "Messages in"), ("out", "Messages out")],
    }  # fmt: skip
    return render(request, "desk/order.html", context)


def _in_schedule(appointment: Appointment) -> str:
    return f"/schedule/{local(appointment.starts_at).date().isoformat()}#appt-{appointment.pk}"


@needs("order.change")
@require_http_methods(["GET", "HEAD", "POST"])
def other_exam(request: UserRequest, pk: int) -> HttpResponse:
    """Another exam than asked: before the start a new order takes the place of this one, after it the exam changes."""
    found = order_for(request.user, pk)
    begun = found.status in _BEGUN
    form = MatchForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        kind, side = form.cleaned_data["procedure"], form.cleaned_data["side"]
        try:
            if begun:
                change_procedure(found.procedures.all()[0], kind, side=side, by=request.user)
            else:
                found = replace_order(found, request_again(found, kind, side=side), by=request.user)
        except (BadValue, MissingData) as problem:
            form.add_error("side" if problem.location == "side" else None, problem.message)
        else:
            return see_other(request, reverse("order", args=[found.pk]), f"The exam is {kind.name}")
    effect = (
        "The images, the report and the charge will be of the exam you pick."
        if begun
        else "This order is cancelled; a new one takes its place, and its time where that fits."
    )
    context = {"heading": "Another exam", "order": found, "form": form, "sides": SIDES, "effect": effect,
               "act": "Change the exam" if begun else "Replace the order"}  # fmt: skip
    return render(request, "orders/exam.html", context, status=422 if form.is_bound else 200)


_BEGUN = {OrderStatus.IN_PROGRESS, OrderStatus.PERFORMED}


@needs("order.cancel")
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: UserRequest, pk: int) -> HttpResponse:
    """Withdraw the order, and with it the time it was booked for."""
    found = order_for(request.user, pk)
    form = ReasonForm(CANCEL_REASONS, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        cancel_order(found, reason=form.cleaned_data["why"], by=request.user)
        return see_other(request, reverse("order", args=[pk]), "The order is cancelled")
    warning = "This cannot be undone."
    if found.status == OrderStatus.SCHEDULED:
        warning = f"Its booking is cancelled too. {warning}"
    context = {"heading": "Cancel the order", "order": found, "form": form, "act": "Cancel the order", "danger": True,
               "url": request.path, "warning": warning}  # fmt: skip
    return render(request, "orders/reason.html", context, status=422 if form.is_bound else 200)
