"""Two records of one person, side by side: merging them, and taking that back."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.audit.trail import record_access
from ris.core.errors import Conflict, MissingData
from ris.core.formats import day
from ris.core.pages import see_other
from ris.patients.access import patient_for
from ris.patients.actions import living
from ris.patients.forms import MergeForm, UnmergeForm
from ris.patients.merge_actions import belongings, merge_patients, unmerge_patients, what_stands_against
from ris.patients.models import Merge, Patient
from ris.patients.search import Found, find_patients, likely_same

#: What two records of one person should agree in, as the page words it.
_COMPARED = (
    ("Family name", "family"),
    ("Given name", "given"),
    ("Middle names", "middle"),
    ("Born", "birth_date"),
    ("Sex", "sex"),
    ("Mobile", "mobile"),
    ("Other phone", "phone"),
    ("Email", "email"),
    ("Address", "address"),
    ("Language", "language"),
    ("Allergies", "allergies"),
    ("Alerts", "alerts"),
    ("Died", "died_on"),
)


@needs("patient.merge")
@require_http_methods(["GET", "HEAD", "POST"])
def merge(request: UserRequest, pk: int) -> HttpResponse:
    """Find the other record, compare the two (`?with=` it), then say which stays. Searching goes by POST."""
    patient = patient_for(request.user, pk)
    if patient.merged_into is not None:
        return HttpResponseRedirect(reverse("patient_merge", args=[living(patient).pk]))
    if "q" in request.POST:
        return _candidates(request, patient, request.POST["q"][:200])
    chosen = request.POST.get("other") or request.GET.get("with", "")
    if not chosen.isdecimal() or int(chosen) == patient.pk:
        return _candidates(request, patient, "")
    other = patient_for(request.user, int(chosen))
    if other.merged_into is not None:
        return see_other(request, _page(living(other)), "That record has been merged already")
    # Whom the page was opened from is the one who goes: a second record is found from the first one's page.
    keep = request.POST.get("keep") or request.GET.get("keep", "")
    stays, goes = (patient, other) if keep == str(patient.pk) else (other, patient)
    if request.method != "POST":
        return _comparison(request, patient, stays, goes, MergeForm(stays))
    form = MergeForm(stays, request.POST)
    if form.is_valid():
        try:
            merge_patients(stays, goes, by=request.user, reason=form.cleaned_data["reason"])
        except Conflict as problem:
            form.add_error(None, problem.message)
        else:
            return see_other(request, _page(stays), f"The two records are one: {stays.name.display}")
    return _comparison(request, patient, stays, goes, form, status=422)


def _page(patient: Patient) -> str:
    return reverse("patient", args=[patient.pk])


def _candidates(request: UserRequest, patient: Patient, text: str) -> HttpResponse:
    """Who was searched for; before that, who is called and was born alike."""
    found = (
        find_patients(text)
        if text.strip()
        else [Found(one) for one in likely_same(patient.name, patient.birth_date)]
    )
    found = [one for one in found if one.patient.pk != patient.pk]
    if found:
        shown = [one.patient.pk for one in found]
        record_access(request.user, "patient.search", count=len(shown), patients=shown)
    return render(
        request, "patients/merge_find.html", {"patient": patient, "found": found, "text": text.strip()}
    )


def _comparison(
    request: UserRequest,
    patient: Patient,
    stays: Patient,
    goes: Patient,
    form: MergeForm,
    *,
    status: int = 200,
) -> HttpResponse:
    rows = []
    for label, column in _COMPARED:
        one, other = getattr(stays, column), getattr(goes, column)
        if one or other:
            shown = [day(value) if column in ("birth_date", "died_on") else value for value in (one, other)]
            rows.append({"label": label, "stays": shown[0], "goes": shown[1], "column": column,
                         "differs": bool(one and other) and one != other})  # fmt: skip
    context = {
        "patient": patient, "stays": stays, "goes": goes, "form": form, "rows": rows,
        "numbers": [list(one.identifiers.order_by("-primary", "pk")) for one in (stays, goes)],
        "belongings": [
            {"label": str(model._meta.verbose_name_plural).capitalize(),
             "stays": model._default_manager.filter(patient=stays).count(),
             "goes": model._default_manager.filter(patient=goes).count()}
            for model in belongings()
        ],
    }  # fmt: skip
    return render(request, "patients/merge.html", context, status=status)


MERGES_A_PAGE = 50


@needs("patient.merge")
@require_safe
def merges(request: UserRequest) -> HttpResponse:
    """Every merge, newest first."""
    rows = Merge.objects.select_related("retired", "survivor", "by", "undone_by").order_by("-at", "-pk")
    rows = rows.prefetch_related("retired__identifiers", "survivor__identifiers")
    page = Paginator(rows, MERGES_A_PAGE).get_page(request.GET.get("page"))
    shown = [pk for one in page for pk in (one.retired_id, one.survivor_id)]
    if shown:
        record_access(request.user, "patient.search", count=len(shown), patients=shown)
    return render(request, "patients/merges.html", {"page": page})


@needs("patient.merge")
@require_http_methods(["GET", "HEAD", "POST"])
def unmerge(request: UserRequest, pk: int) -> HttpResponse:
    """What would go back to whom, what stands against it, and the reason."""
    found = get_object_or_404(Merge.objects.select_related("retired", "survivor", "by"), pk=pk)
    stays, goes = patient_for(request.user, found.survivor_id), patient_for(request.user, found.retired_id)
    form = UnmergeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            unmerge_patients(found, by=request.user, reason=form.cleaned_data["reason"])
        except (Conflict, MissingData) as problem:
            form.add_error(None, problem.message)
        else:
            return see_other(request, _page(goes), f"{goes.name.display} is a record of its own again")
    context = {
        "merge": found, "patient": stays, "retired": goes, "form": form,
        "against": what_stands_against(found), "back": _going_back(found),
    }  # fmt: skip
    return render(request, "patients/unmerge.html", context, status=422 if form.is_bound else 200)


def _going_back(found: Merge) -> list[dict[str, Any]]:
    return [
        {"label": str(model._meta.verbose_name_plural).capitalize(), "rows": list(rows)}
        for model in belongings()
        if (rows := model._default_manager.filter(pk__in=found.moved.get(model._meta.label, [])))
    ]
