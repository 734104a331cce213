"""Charges and fees: what the work is worth, and what keeps it from being sent."""

from dataclasses import asdict
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import actions, worklists
from billing.access import charge_for
from billing.forms import HOLD_REASONS, VOID_REASONS, FeeForm, ReasonForm
from billing.models import Charge, Fee
from billing.states import ChargeStatus, Component
from billing.worklists import Choice
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, MissingData, NotFound
from ris.core.formats import moment
from ris.core.pages import see_other
from ris.core.tables import as_csv
from ris.department.models import Modality
from scheduling.worklists import modalities

_TABS = (
    (ChargeStatus.CAPTURED, "New"),
    (ChargeStatus.HELD, "Held"),
    (ChargeStatus.SENT, "Sent"),
    (ChargeStatus.VOIDED, "Voided"),
)


def _choice(request: HttpRequest) -> Choice:
    """The filter of the address; what somebody typed comes by POST, since it may be a patient's number."""

    def known(name: str, values: list[str], default: str = "") -> str:
        given = request.GET.get(name, default)
        return given if given in values else default

    return Choice(
        status=known("status", ChargeStatus.values, ChargeStatus.CAPTURED),
        component=known("component", Component.values),
        modality=known("modality", Modality.values),
        text=request.POST.get("text", "").strip(),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@needs("charge.view")
def charges(request: UserRequest) -> HttpResponse:
    """The charges of one state; POST finds those of an accession number or a code."""
    choice = _choice(request)
    page = Paginator(worklists.charges(choice), 50).get_page(request.GET.get("page"))
    record_access(request.user, "charge.list", count=len(page.object_list))
    counts = worklists.counts()
    kept = {"component": choice.component, "modality": choice.modality}
    context = {
        "choice": choice,
        "page": page,
        "totals": worklists.totals(choice),
        "tabs": [
            (status, word, counts.get(status, 0), urlencode({"status": status, **kept}))
            for status, word in _TABS
        ],
        "components": Component.choices,
        "modalities": modalities(),
        "may_change": allowed(request.user, "charge.change"),
    }
    return render(request, "billing/charges.html", context)


@require_safe
@needs("charge.view")
def export(request: UserRequest) -> HttpResponse:
    """What the list shows, as a table; who took it along is in the trail."""
    choice = _choice(request)
    rows = list(worklists.charges(choice))
    filters = {name: value for name, value in asdict(choice).items() if value}
    record_access(request.user, "charge.export", count=len(rows), **filters)
    header = [
        "captured", "accession", "MRN", "patient", "exam", "component", "code", "amount", "currency", "status", "problem",
    ]  # fmt: skip
    table = as_csv(header, map(_exported, rows))
    name = f"charges-{choice.status}-{timezone.now():%Y%m%d-%H%M}.csv"
    return HttpResponse(
        table,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _exported(charge: Charge) -> list[object]:
    order = charge.exam.order
    return [
        moment(charge.captured_at), order.accession_number, order.patient.mrn, order.patient.name.display,
        charge.procedure.label, charge.get_component_display(), charge.code, charge.amount, charge.currency,
        charge.get_status_display(), charge.reason,
    ]  # fmt: skip


@require_safe
@needs("charge.view")
def charge(request: UserRequest, pk: int) -> HttpResponse:
    return _charge_page(request, charge_for(request.user, pk))


def _charge_page(request: UserRequest, found: Charge) -> HttpResponse:
    reported = getattr(found.exam, "reported", None)
    context = {
        "charge": found,
        "order": found.exam.order,
        "patient": found.exam.order.patient,
        "report": reported.report if reported else None,
        "others": worklists.charges(Choice(text=found.exam.order.accession_number)).exclude(pk=found.pk),
        "history": worklists.history(found),
        "may_change": allowed(request.user, "charge.change"),
        "may_see_exam": allowed(request.user, "exam.view"),
        "next": request.GET.get("next", ""),
    }
    return render(request, "billing/charge.html", context)


_ASK = {
    "hold": ("Hold the charge", "It is not sent until somebody releases it.", "Hold", HOLD_REASONS),
    "void": ("Void the charge", "It is taken back for good; the exam may then be charged again.", "Void", VOID_REASONS),
}  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@needs("charge.change")
def stop(request: UserRequest, pk: int, act: str) -> HttpResponse:
    """Hold or void a charge, with a reason."""
    found = charge_for(request.user, pk)
    heading, hint, button, reasons = _ASK[act]
    form = ReasonForm(request.POST if request.method == "POST" else None, reasons=reasons)
    if request.method == "POST" and form.is_valid():
        verb = actions.hold_charge if act == "hold" else actions.void_charge
        try:
            verb(found, reason=form.said, by=request.user)
        except MissingData as problem:
            form.add_error("reason", problem.message)
        else:
            done = "The charge is held" if act == "hold" else "The charge is void"
            undo = reverse("charge_release", args=[pk]) if act == "hold" else ""
            return see_other(request, reverse("charge", args=[pk]), done, undo=undo)
    context = {
        "form": form, "heading": heading, "hint": hint, "button": button, "charge": found, "act": act,
        "patient": found.exam.order.patient,
    }  # fmt: skip
    return render(request, "billing/reason.html", context, status=422 if form.errors else 200)


@require_POST
@needs("charge.change")
def release(request: UserRequest, pk: int) -> HttpResponse:
    """Let a held charge go. One that still lacks its fee says so, with the way there."""
    found = charge_for(request.user, pk)
    try:
        actions.release_charge(found, by=request.user)
    except MissingData as problem:
        raise Conflict(problem.message) from None
    return see_other(request, reverse("charge", args=[pk]), "The charge is new again and priced as of today")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("charge.view")
def fees(request: UserRequest) -> HttpResponse:
    """The price list, with what the catalogue charges under and nobody has priced."""
    text = request.POST.get("text", "").strip()
    page = Paginator(worklists.fees(text), 60).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "text": text,
        "missing": worklists.missing_fees(),
        "may_change": allowed(request.user, "charge.change"),
    }
    return render(request, "billing/fees.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("charge.change")
def fee(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """Price a code: a new one, or an existing one from now on. Charges captured before keep their amount."""
    known = _fee(pk) if pk else None
    start = {"code": request.GET.get("code", "")}
    if known:
        start = {name: str(getattr(known, name)) for name in ("code", "name", "amount", "currency")}
    form = FeeForm(request.POST if request.method == "POST" else None, initial=start)
    if known:
        form.fields["code"].disabled = True
    if request.method == "POST" and form.is_valid():
        try:
            saved = actions.set_fee(actions.NewFee(**form.cleaned_data), by=request.user)
        except BadValue as problem:
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, reverse("fees"), f"{saved.code} costs {saved.amount} {saved.currency}")
    heading = f"Fee {known.code}" if known else "New fee"
    context = {"form": form, "heading": heading, "fee": known}
    return render(request, "billing/fee.html", context, status=422 if form.errors else 200)


def _fee(pk: int) -> Fee:
    found = Fee.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such fee.")
    return found
