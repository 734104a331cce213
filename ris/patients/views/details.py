"""Registering patients and changing their details."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, MissingData
from ris.core.formats import clock, day
from ris.core.names import PersonName
from ris.core.pages import see_other
from ris.department.models import Facility
from ris.events.models import Event
from ris.patients.access import patient_for
from ris.patients.actions import NewIdentifier, NewPatient, living, register_patient, update_patient
from ris.patients.forms import EditForm, PatientForm, RegisterForm
from ris.patients.models import Patient
from ris.patients.search import likely_same, parse

_NAME = ("family", "given", "middle", "prefix")
_DETAILS = ("phone", "mobile", "email", "address", "language", "allergies", "alerts")


@needs("patient.register")
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: UserRequest) -> HttpResponse:
    """The form; `?walkin=1` goes on to the order. POST `prefill` opens it with what was searched for."""
    walkin = "walkin" in request.GET
    if request.method != "POST" or "prefill" in request.POST:
        form = RegisterForm(initial=_prefilled(request.POST.get("prefill", "")))
        return render(request, "patients/new.html", {"form": form, "walkin": walkin})
    form = RegisterForm(request.POST)
    same: list[Patient] = []
    if form.is_valid():
        data = form.cleaned_data
        if "new_anyway" not in request.POST:
            same = likely_same(PersonName(data["family"], data["given"]), data["birth_date"])
            _note(request, same)
        if not same:
            try:
                patient = register_patient(_new_patient(data), by=request.user)
            except (BadValue, MissingData, Conflict) as problem:
                _say(form, problem.location, problem.message)
            else:
                url = f"{reverse('order_new')}?patient={patient.pk}" if walkin else _page(patient)
                return see_other(request, url, f"{patient.name.display} is registered")
    context = {"form": form, "walkin": walkin, "same": same, "asked": bool(same)}
    return render(request, "patients/new.html", context, status=422)


def _prefilled(text: str) -> dict[str, str]:
    """What was typed in the search box, put into its fields; names keep their accents."""
    query = parse(text)
    words = [word for word in text.split() if not any(letter.isdigit() for letter in word)]
    found = {"authority": _own_authority()}
    if words and query.names:
        found |= {"family": _cased(words[0]), "given": " ".join(map(_cased, words[1:]))}
    if len(query.born) == 1:
        found["birth_date"] = query.born[0]
    return found


def _cased(word: str) -> str:
    return word.capitalize() if word in (word.lower(), word.upper()) else word


def _own_authority() -> str:
    return Facility.objects.order_by("pk").values_list("assigning_authority", flat=True).first() or ""


def _new_patient(data: dict[str, Any]) -> NewPatient:
    number = data["number"]
    return NewPatient(
        name=PersonName(**{column: data[column] for column in _NAME}),
        identifiers=(NewIdentifier(number, data["authority"]),) if number else (),
        birth_date=data["birth_date"],
        sex=data["sex"],
        details={column: data[column] for column in _DETAILS},
    )


def _say(form: PatientForm, location: str, message: str) -> None:
    """The verb's refusal, at its field."""
    field = "number" if location == "PID-3" else location
    form.add_error(field if field in form.fields else None, message)


def _note(request: UserRequest, patients: Iterable[Patient]) -> None:
    shown = [patient.pk for patient in patients]
    if shown:
        record_access(request.user, "patient.search", count=len(shown), patients=shown)


def _page(patient: Patient) -> str:
    return reverse("patient", args=[patient.pk])


@needs("patient.register")
@require_POST
def similar(request: UserRequest) -> HttpResponse:
    """Who of the registered the new one may be, while the form is filled in."""
    born = parse(request.POST.get("birth_date", "")).born
    name = PersonName(request.POST.get("family", "")[:100], request.POST.get("given", "")[:100])
    same = (
        likely_same(name, born[0] if len(born) == 1 else "") if name.family and (name.given or born) else []
    )
    _note(request, same)
    context = {"same": same, "walkin": "walkin" in request.GET}
    return render(request, "patients/_same.html", context)


@needs("patient.update")
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: UserRequest, pk: int) -> HttpResponse:
    patient = patient_for(request.user, pk)
    if patient.merged_into is not None:
        if request.method == "POST":
            return _merged_meanwhile(request, patient)
        return HttpResponseRedirect(reverse("patient_edit", args=[living(patient).pk]))
    if request.method != "POST":
        return _edit_page(request, patient, EditForm(initial=_values(patient)))
    form = EditForm(request.POST)
    if not form.is_valid():
        return _edit_page(request, patient, form, status=422)
    changes = dict(form.cleaned_data)
    version = changes.pop("version")
    try:
        update_patient(patient, changes, version=version, by=request.user)
    except Conflict:
        # Their values stay in the record, mine in the form; saving again keeps mine.
        patient.refresh_from_db()
        if patient.merged_into is not None:
            return _merged_meanwhile(request, patient)
        sent = request.POST.copy()
        sent["version"] = str(patient.version)
        form.data = sent
        return _edit_page(request, patient, form, status=409, conflict=_conflict(patient, changes))
    except (BadValue, MissingData) as problem:
        _say(form, problem.location, problem.message)
        return _edit_page(request, patient, form, status=422)
    return see_other(request, _page(patient), "Saved")


def _merged_meanwhile(request: UserRequest, patient: Patient) -> HttpResponse:
    """Nothing is saved; what was typed stays on the page, beside the way to the record that counts now."""
    form = EditForm(request.POST)
    return _edit_page(request, patient, form, status=409, conflict=None, stays=living(patient))


def _values(patient: Patient) -> dict[str, Any]:
    columns = (*_NAME, *_DETAILS, "birth_date", "sex", "version")
    return {column: getattr(patient, column) for column in columns}


def _edit_page(
    request: UserRequest, patient: Patient, form: EditForm, *, status: int = 200, conflict: object = None,
    stays: Patient | None = None,
) -> HttpResponse:  # fmt: skip
    context = {"patient": patient, "form": form, "conflict": conflict, "stays": stays}
    return render(request, "patients/edit.html", context, status=status)


def _conflict(patient: Patient, mine: dict[str, Any]) -> dict[str, Any]:
    """Who changed the record meanwhile, when, and where it now differs from what was typed."""
    last = (
        Event.objects.select_related("by")
        .filter(subject=f"patient:{patient.pk}", kind="patient.updated")
        .order_by("-id")
        .first()
    )
    differing = [
        {"label": PatientForm.base_fields[column].label or column.capitalize(),
         "theirs": _shown(column, getattr(patient, column)), "mine": _shown(column, value)}
        for column, value in mine.items()
        if getattr(patient, column) != value
    ]  # fmt: skip
    return {
        "who": str(last.by) if last else "Somebody",
        "at": clock(last.at) if last else "",
        "fields": differing,
    }


def _shown(column: str, value: str) -> str:
    return (day(value) if column == "birth_date" else value) or "nothing"
