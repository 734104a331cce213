"""Partners on the admin pages: whom we exchange messages with, and how each wants to be spoken to."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from interfaces import actions, contract, rehearsal
from interfaces.access import inbound_for, partner_for
from interfaces.forms import BenchForm, PartnerForm
from interfaces.hl7 import charsets
from interfaces.models import Endpoint, Protocol
from interfaces.rehearsal import Change, Replay
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, NotFound, RisError
from ris.core.pages import see_other
from ris.department.sections import sections_for


@require_safe
@needs("message.view")
def partners(request: UserRequest) -> HttpResponse:
    """Whom we exchange messages with, for the admin pages."""
    context = {
        "rows": Endpoint.objects.filter(active=True).order_by("direction", "name"),
        "may_change": allowed(request.user, "endpoint.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "interfaces/partners.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("endpoint.change")
def partner(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One partner in its form. A change that would make stored messages come out otherwise is shown before it is saved."""
    known = partner_for(pk) if pk else None
    form = PartnerForm(request.POST if request.method == "POST" else None, endpoint=known)
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        change = Change(form.values, form.code_maps)
        try:
            if known is None and Endpoint.objects.filter(name=name, active=True).exists():
                raise BadValue("Another partner has this name.", location="name")
            tried = (
                rehearsal.replay(known, change, by=request.user)
                if known and known.protocol == Protocol.MLLP and "confirm" not in request.POST
                else None
            )
            if known and tried and tried.differences:
                return _replay_page(request, known, tried)
            change.make(name, by=request.user)
        except BadValue as problem:
            field = next(
                (one for one in (problem.location, f"profile_{problem.location}") if one in form.fields), None
            )
            form.add_error(field, problem.message)
        else:
            same = f"; its last {tried.tried} messages come out as before" if tried and tried.tried else ""
            return see_other(request, reverse("admin_partners"), f"{name} is saved{same}")
    context = {
        "form": form, "partner": known, "groups": form.groups, "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "interfaces/partner.html", context, status=422 if form.errors else 200)


def _replay_page(request: HttpRequest, known: Endpoint, tried: Replay) -> HttpResponse:
    kept = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in ("csrfmiddlewaretoken", "form_key", "confirm")
        for value in values
    ]
    context = {"partner": known, "tried": tried, "kept": kept, "inbound": known.direction == "in"}
    return render(request, "interfaces/partner_replay.html", context)


@require_POST
@needs("endpoint.change")
def remove_partner(request: UserRequest, pk: int) -> HttpResponse:
    known = partner_for(pk)
    actions.remove_endpoint(known, by=request.user)
    return see_other(request, reverse("admin_partners"), f"{known.name} gets and sends nothing more")


@require_safe
@needs("message.view")
def contract_page(request: UserRequest, pk: int) -> HttpResponse:
    """The interface contract, held against what was really sent; `?format=json` to keep."""
    known = partner_for(pk)
    if known.protocol != Protocol.MLLP:
        raise NotFound("What such a partner is told stands in the DICOM conformance statement.")
    agreed, checked, wrong = contract.look_up(known, by=request.user)
    if request.GET.get("format") == "json":
        return JsonResponse(
            agreed.as_json(),
            json_dumps_params={"indent": 2},
            headers={"Content-Disposition": f'attachment; filename="contract-{known.pk}.json"'},
        )
    context = {"partner": known, "contract": agreed, "checked": checked, "wrong": wrong}
    return render(request, "interfaces/contract.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.reveal")
def bench(request: UserRequest) -> HttpResponse:
    """The test bench: every effect a message would have, and none of them."""
    stored = request.GET.get("message", "")
    initial = {}
    if request.method != "POST" and stored.isdigit():
        message = inbound_for(request.user, int(stored))
        record_access(
            request.user, "message.revealed", patient=message.patient_id, subject=f"message:{message.pk}"
        )
        initial = {"partner": message.endpoint_id, "message": _text(bytes(message.raw))}
    form = BenchForm(request.POST if request.method == "POST" else None, initial=initial)
    found = None
    if request.method == "POST" and form.is_valid():
        found = rehearsal.rehearse(form.raw, form.cleaned_data["partner"], by=request.user)
    context = {
        "form": form, "found": found, "answer": _text(found.ack) if found else "",
        "told": [(one, _text(one.raw)) for one in found.told] if found else [],
    }  # fmt: skip
    return render(request, "interfaces/bench.html", context, status=422 if form.errors else 200)


def _text(raw: bytes) -> str:
    try:
        text = charsets.decode(raw)
    except RisError:
        text = raw.decode("latin-1")
    return text.replace("\r", "\n").strip("\n")
