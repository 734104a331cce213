"""Admin pages of the department: what there is, what is offered, and who orders."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed, require
from ris.audit.trail import record_access
from ris.core.errors import BadValue, NotFound
from ris.core.pages import see_other
from ris.department import worklists
from ris.department.actions import CatalogueDiff, catalogue_diff, import_catalogue, save_record
from ris.department.forms import (
    AE_TITLE,
    ExamForm,
    FacilityForm,
    ImportForm,
    PractitionerForm,
    RecordForm,
    RoomForm,
    StationForm,
)  # fmt: skip
from ris.department.models import Modality, Station
from ris.department.sections import sections_for


@dataclass(frozen=True)
class Kind:
    """A table of the department: how it is listed and filled in."""

    word: str
    form: type[RecordForm]
    rows: Callable[..., QuerySet[Any]]

    @property
    def model(self) -> type[Model]:
        model: type[Model] = self.form._meta.model
        return model


KINDS = {
    "rooms": Kind("room", RoomForm, worklists.rooms),
    "stations": Kind("station", StationForm, worklists.stations),
    "facilities": Kind("facility", FacilityForm, worklists.facilities),
    "practitioners": Kind("practitioner", PractitionerForm, worklists.practitioners),
    "catalogue": Kind("exam", ExamForm, worklists.catalogue),
}


@require_safe
@needs("department.view")
def records(request: UserRequest, kind: str) -> HttpResponse:
    """The rows of one kind; long ones by search."""
    filters = {}
    if kind in {"practitioners", "catalogue"}:
        filters["text"] = request.GET.get("q", "").strip()[:80]
    if kind == "catalogue" and request.GET.get("modality") in Modality.values:
        filters["modality"] = request.GET["modality"]
    context = {
        "kind": kind,
        "word": KINDS[kind].word,
        "page": Paginator(KINDS[kind].rows(**filters), 60).get_page(request.GET.get("page")),
        "modalities": [("XR" if code == Modality.XR else code, code) for code in Modality.values],
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
        **filters,
    }
    return render(request, f"department/{kind}.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.view")
def record(request: UserRequest, kind: str, pk: int | None = None) -> HttpResponse:
    """One row in its form. Who may only look gets it without the button to save."""
    found = _found(kind, pk) if pk else KINDS[kind].model()
    form = KINDS[kind].form(request.POST if request.method == "POST" else None, instance=found)
    if request.method == "POST":
        require(request.user, "department.change")
        if form.is_valid():
            with transaction.atomic():
                save_record(form.instance, by=request.user)
            return see_other(request, reverse(f"admin_{kind}"), f"{form.instance} is saved")
    context = {
        "form": form,
        "kind": kind,
        "record": found,
        "heading": str(_found(kind, pk)) if pk else f"New {KINDS[kind].word}",
        "history": worklists.history(found)[:8] if pk else [],
        "may_change": allowed(request.user, "department.change"),
        "action": request.path,
    }
    return render(request, "department/record.html", context, status=422 if form.errors else 200)


def _found(kind: str, pk: int | None) -> Model:
    found = KINDS[kind].model._default_manager.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no such {KINDS[kind].word}.")
    return found


@require_POST
@needs("department.view")
def check_ae_title(request: UserRequest) -> HttpResponse:
    """What stands beside the AE title while it is typed: how long it is, and whether it can be."""
    title = request.POST.get("ae_title", "").strip()
    own = request.POST.get("pk", "")
    problem = ""
    if title:
        try:
            AE_TITLE(title)
        except Exception as refusal:  # ValidationError, whose text is ours
            problem = " ".join(getattr(refusal, "messages", []))
        taken = Station.objects.filter(ae_title=title).select_related("room").first()
        if taken and str(taken.pk) != own:
            problem = f"{taken.room} has this AE title."
    return render(request, "department/_ae_check.html", {"length": len(title), "problem": problem})


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.change")
def import_exams(request: UserRequest) -> HttpResponse:
    """A catalogue from CSV in two steps: what would change, and then just that."""
    sent = request.method == "POST"
    form = ImportForm(request.POST if sent else None, request.FILES if sent else None)
    context: dict[str, Any] = {"form": form, "sections": sections_for(request.user, request.path)}
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["text"]
        diff = catalogue_diff(text)
        seen = _fingerprint(diff)
        if "apply" in request.POST and request.POST.get("seen") == seen:
            try:
                done = import_catalogue(text, by=request.user)
            except BadValue as problem:
                form.add_error(None, problem.message)
            else:
                return see_other(
                    request, reverse("admin_catalogue"), f"{len(done.changes)} exams were changed"
                )
        context |= {"diff": diff, "seen": seen, "text": text, "moved_on": "apply" in request.POST}
    return render(request, "department/import.html", context, status=422 if form.errors else 200)


def _fingerprint(diff: CatalogueDiff) -> str:
    """What somebody agreed to; another one means that the catalogue was changed in between."""
    return hashlib.sha256(repr(diff).encode()).hexdigest()


@require_safe
@needs("department.view")
def export_exams(request: UserRequest) -> HttpResponse:
    record_access(request.user, "catalogue.export")
    return HttpResponse(
        worklists.catalogue_csv(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="catalogue.csv"'},
    )
