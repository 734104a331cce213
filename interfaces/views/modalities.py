"""Modalities (ux.md 2.18): each machine as its own calls show it, what it sees now, and why something is not there."""

from typing import Any

from django import forms
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe
from pydicom.uid import UID

from interfaces import modalities as reads
from interfaces.dicom import selftest, visibility
from interfaces.dicom.status import Refused
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.core.pages import see_other
from ris.department.actions import save_record
from ris.department.forms import AE_TITLE
from ris.department.models import Station
from ris.department.sections import sections_for
from ris.orders.models import Order
from ris.patients.search import search_patients
from scheduling.models import ScheduledProcedureStep

_PREVIEWED = 100
_EXPLAINED = 8


@require_safe
@needs("department.view")
def modalities(request: UserRequest) -> HttpResponse:
    """All machines, the silent ones first, and whoever else has called."""
    context = {
        "machines": reads.machines(), "strangers": reads.strangers(),
        "may_change": allowed(request.user, "department.change"), "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "interfaces/modalities.html", context)


class QuickForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """What is needed to let a machine in; the rest has usual values and its own form."""

    ae_title = forms.CharField(label="AE title", max_length=16, validators=[AE_TITLE])

    class Meta:
        model = Station
        fields = ["ae_title", "room", "modality", "name", "host", "port"]
        labels = {"name": "Station name", "port": "Port"}
        error_messages = {"ae_title": {"unique": "Another station has this AE title."}}


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.change")
def add(request: UserRequest) -> HttpResponse:
    """Let a machine in: six fields, for one that has called already filled in as far as it has shown."""
    known = reads.strangers().model.objects.filter(ae_title=request.GET.get("ae", "")).first()
    initial = {"ae_title": known.ae_title, "host": _newest(known.addresses)} if known else {}
    form = QuickForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            save_record(form.instance, by=request.user)
        url = reverse("modality", args=[form.instance.pk])
        return see_other(request, url, f"{form.instance} may connect now")
    context = {"form": form, "heading": "New modality", "url": request.get_full_path()}
    return render(request, "interfaces/modality_add.html", context, status=422 if form.errors else 200)


def _newest(addresses: dict[str, str]) -> str:
    return max(addresses, key=lambda one: addresses[one]) if addresses else ""


def _station(pk: int) -> Station:
    found = Station.objects.select_related("room__facility").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such station.")
    return found


@require_safe
@needs("department.view")
def modality(request: UserRequest, pk: int) -> HttpResponse:
    """One machine."""
    return _page(request, _station(pk))


def _page(request: UserRequest, station: Station, *, status: int = 200, **more: Any) -> HttpResponse:
    machine = reads.machine(station)
    twin = machine.twin
    identifier = visibility.usual_identifier(station, twin)
    refused, steps = "", []
    try:
        seen = visibility.seen_by(station, identifier)
    except Refused as problem:
        refused, seen = problem.comment, []
    rows = ScheduledProcedureStep.objects.select_related(
        "appointment__room", "procedure__order__patient", "procedure__procedure_type"
    ).in_bulk(seen[:_PREVIEWED])
    steps = [rows[one] for one in seen[:_PREVIEWED] if one in rows]
    record_access(
        request.user, "station.preview", subject=f"department:station:{station.pk}", count=len(seen),
        patients=sorted({step.procedure.order.patient_id for step in steps}),
    )  # fmt: skip
    context = {
        "machine": machine, "station": station, "twin": twin, "seen": steps, "seen_count": len(seen), "refused": refused,
        "asks": _asked(identifier), "days": reads.last_days(twin) if twin else [], "contexts": _contexts(twin),
        "allowed": reads.allowed(machine.gap) if machine.gap else None,
        "may_name": allowed(request.user, "patient.view"), "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path), "text": "", **more,
    }  # fmt: skip
    return render(request, "interfaces/modality.html", context, status=status)


def _contexts(twin: Any) -> list[tuple[str, str, bool]]:
    """What it proposed, in the names of the standard."""
    return [
        (UID(one["sop_class"]).name, ", ".join(UID(uid).name for uid in one["transfer_syntaxes"]), one["accepted"])
        for one in (twin.contexts if twin else [])
    ]  # fmt: skip


def _asked(identifier: Any) -> list[tuple[str, str]]:
    """The keys of the query that have a value."""
    items = [identifier, *(identifier.get("ScheduledProcedureStepSequence", None) or ())]
    return [
        (element.name, str(element.value))
        for item in items
        for element in item
        if element.VR != "SQ" and element.tag != 0x00080005 and str(element.value or "")
    ]


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.view")
def why(request: UserRequest, pk: int) -> HttpResponse:
    """Each rule that decides whether an exam is on this machine's list. The text comes by POST: it may be a name."""
    if request.method != "POST":
        return redirect("modality", pk=pk)  # a page that was reloaded or kept
    station = _station(pk)
    text = request.POST.get("q", "").strip()[:100]
    found = _orders(text)
    machine = reads.machine(station)
    identifier = visibility.usual_identifier(station, machine.twin)
    explanations = [one for order in found for one in visibility.explain(station, order, identifier)]
    record_access(
        request.user, "station.explain", subject=f"department:station:{pk}", orders=[order.pk for order in found],
        patients=sorted({order.patient_id for order in found}),
    )  # fmt: skip
    return _page(request, station, text=text, explanations=explanations, asked=True)


def _orders(text: str) -> list[Order]:
    """By accession number, else the newest of the patients with that name or number."""
    if not text:
        return []
    rows = Order.objects.select_related("patient").prefetch_related("procedures__procedure_type")
    number = text.upper().replace(" ", "").replace("-", "")
    named = list(rows.filter(accession_number__in={text, number})[:_EXPLAINED])
    if named:
        return named
    patients = [patient.pk for patient in search_patients(text)[:20]]
    return list(rows.filter(patient__in=patients).order_by("-ordered_at")[:_EXPLAINED])


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.view")
def echo(request: UserRequest, pk: int) -> HttpResponse:
    """C-ECHO: to our services as this machine, and to the machine itself."""
    if request.method != "POST":
        return redirect("modality", pk=pk)  # a page that was reloaded or kept
    station = _station(pk)
    tried = [("Us", selftest.echo_as(station))]
    if station.host and station.port:
        tried.append(("It", selftest.echo_to(station)))
    return _tried(request, station, tried)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.view")
def find(request: UserRequest, pk: int) -> HttpResponse:
    """Its usual query, to our services as this machine."""
    if request.method != "POST":
        return redirect("modality", pk=pk)  # a page that was reloaded or kept
    station = _station(pk)
    identifier = visibility.usual_identifier(station, reads.machine(station).twin)
    return _tried(request, station, [("Us", selftest.find_as(station, identifier))])


def _tried(request: UserRequest, station: Station, tried: list[tuple[str, selftest.Tried]]) -> HttpResponse:
    worked = all(one.worked for _, one in tried)
    record_access(
        request.user, "station.tried", subject=f"department:station:{station.pk}", outcome="ok" if worked else "failed"
    )  # fmt: skip
    return _page(request, station, tried=tried)
