"""Admin pages over several parts of the record: opening hours, report templates."""

import re
from datetime import time
from typing import Any

from django import forms
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.core.errors import BadValue, NotFound
from ris.core.pages import see_other
from ris.department.models import Modality, ProcedureType, Room
from ris.department.sections import sections_for
from ris.reporting import sections as text
from ris.reporting.actions import NewTemplate, keep_template, retire_template
from ris.reporting.models import ReportTemplate
from scheduling.actions import set_openings
from scheduling.models import Opening

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: The last moment of a day: a time cannot say 24:00.
_MIDNIGHT = time(23, 59, 59)


@require_safe
@needs("department.view")
def index(request: UserRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin_rooms"))


# Opening hours


class HoursForm(forms.Form):
    """A line for each day: 07:00–12:00, 13:00–19:00; empty when closed."""

    def __init__(self, data: Any, *, openings: list[Opening]) -> None:
        super().__init__(data)
        for weekday, name in enumerate(_DAYS):
            spans = [f"{one.opens:%H:%M}–{_clock(one.closes)}" for one in openings if one.weekday == weekday]
            self.fields[f"day{weekday}"] = forms.CharField(
                label=name, required=False, initial=", ".join(spans), max_length=80,
                widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "closed"}),
            )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        self.hours: list[tuple[int, time, time]] = []
        for weekday, name in enumerate(_DAYS):
            for span in re.split(r"[,;]", data.get(f"day{weekday}", "")):
                if not span.strip():
                    continue
                ends = [_time(part) for part in re.split(r"[–—-]", span)]
                if len(ends) != 2 or None in ends:
                    self.add_error(f"day{weekday}", f"Write {name}'s hours as 07:00–12:00, 13:00–19:00.")
                    continue
                opens, closes = ends
                assert opens is not None
                assert closes is not None
                self.hours.append((weekday, opens, closes))
        return data


def _clock(at: time) -> str:
    return "24:00" if at >= _MIDNIGHT else f"{at:%H:%M}"


def _time(written: str) -> time | None:
    """7, 07:00, 0730, 24:00."""
    found = re.fullmatch(r"\s*(\d{1,2})[:.]?(\d{2})?\s*", written, re.ASCII)
    if not found:
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    if (hour, minute) == (24, 0):
        return _MIDNIGHT
    return time(hour, minute) if hour < 24 and minute < 60 else None


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.change")
def hours(request: UserRequest, pk: int) -> HttpResponse:
    """When a room is open in a week."""
    room = Room.objects.filter(pk=pk).prefetch_related("openings").first()
    if room is None:
        raise NotFound("There is no such room.")
    form = HoursForm(request.POST if request.method == "POST" else None, openings=list(room.openings.all()))
    if request.method == "POST" and form.is_valid():
        try:
            set_openings(room, form.hours, by=request.user)
        except BadValue as problem:
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, reverse("admin_rooms"), f"The hours of {room} are saved")
    context = {"form": form, "room": room, "heading": f"Hours of {room}"}
    return render(request, "desk/admin_hours.html", context, status=422 if form.errors else 200)


# Report templates


class TemplateForm(forms.Form):
    """Sections under the headings every report has; [words in brackets] must be filled before signing."""

    name = forms.CharField(max_length=80, error_messages={"required": "Enter the template's name."})
    modality = forms.ChoiceField(choices=[("", "Any"), *Modality.choices], required=False)
    body_part = forms.CharField(
        max_length=40, required=False, help_text="As the catalogue writes it; empty for any"
    )
    procedure_type = forms.ModelChoiceField(
        ProcedureType.objects.filter(active=True),
        label="Only for the exam",
        required=False,
        empty_label="Any",
    )

    def __init__(self, data: Any = None, *, template: ReportTemplate | None = None) -> None:
        super().__init__(data)
        wording = {one["code"]: one["text"] for one in (template.sections if template else [])}
        for code, title in text.STANDARD:
            self.fields[code] = forms.CharField(
                label=title, required=False, initial=wording.get(code, ""), max_length=20_000, strip=False,
                widget=forms.Textarea(
                    attrs={"rows": 8 if code == text.FINDINGS[0] else 2, "class": "prose", "data-autogrow": ""}
                ),
            )  # fmt: skip
        if template:
            for name in ("name", "modality", "body_part", "procedure_type"):
                self.initial[name] = getattr(template, name)
            self.fields["name"].disabled = True

    @property
    def template(self) -> NewTemplate:
        data = self.cleaned_data
        wording = [text.section((code, title), data[code]) for code, title in text.STANDARD]
        return NewTemplate(data["name"], wording, data["modality"], data["body_part"], data["procedure_type"])


@require_safe
@needs("department.view")
def templates(request: UserRequest) -> HttpResponse:
    rows = ReportTemplate.objects.select_related("procedure_type").order_by("-active", "modality", "name")
    context = {
        "rows": rows,
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "desk/admin_templates.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("department.change")
def template(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """The wording a report begins with. Reports already begun keep theirs."""
    known = _template(pk) if pk else None
    form = TemplateForm(request.POST if request.method == "POST" else None, template=known)
    if request.method == "POST" and form.is_valid():
        named = ReportTemplate.objects.filter(name=form.cleaned_data["name"]).first()
        if named is not None and named != known:
            form.add_error("name", "Another template has this name.")
        else:
            saved = keep_template(form.template, by=request.user)
            return see_other(request, reverse("admin_templates"), f"{saved.name} is saved")
    context = {"form": form, "template": known, "sections": sections_for(request.user, request.path)}
    return render(request, "desk/admin_template.html", context, status=422 if form.errors else 200)


def _template(pk: int) -> ReportTemplate:
    found = ReportTemplate.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such template.")
    return found


@require_POST
@needs("department.change")
def retire(request: UserRequest, pk: int) -> HttpResponse:
    found = _template(pk)
    retire_template(found, by=request.user)
    return see_other(request, reverse("admin_templates"), f"{found.name} begins no more reports")
