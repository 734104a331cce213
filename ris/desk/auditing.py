"""The audit page: who did what with which patient, from where and why. Asking is itself in the trail."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import Role, User
from ris.audit.models import AuditEvent
from ris.audit.trail import record_access
from ris.core.formats import day as show_day
from ris.core.formats import moment, parse_day, today
from ris.core.pages import see_other
from ris.core.tables import as_csv
from ris.department.sections import sections_for
from ris.patients.models import Patient, PatientIdentifier

QUESTIONS = {
    "patient": "Who opened this patient?",
    "user": "What did this user do?",
    "exports": "What was taken out?",
    "refused": "What was refused?",
    "all": "Everything",
}
#: An export holds no more rows than a spreadsheet takes.
_MOST = 100_000

_WORDS = {
    "patient.view": "opened patient", "order.view": "opened order", "exam.view": "opened exam",
    "report.view": "opened report",
    "appointment.view": "opened appointment", "charge.view": "opened charge", "message.view": "opened message",
    "patient.arrived": "checked in", "patient.ready": "made ready", "appointment.booked": "booked exam",
    "audit.search": "searched the trail", "audit.export": "exported the trail",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    question: str
    patient: Patient | None
    user: User | None
    since: date | None
    until: date | None

    @property
    def query(self) -> dict[str, str]:
        """The address of the same question: row ids, never a patient's number."""
        found = {
            "question": self.question,
            "patient": str(self.patient.pk) if self.patient else "",
            "user": str(self.user.pk) if self.user else "",
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
        }
        return {name: value for name, value in found.items() if value}

    @property
    def is_complete(self) -> bool:
        """Whether it names whom it is about."""
        return not (self.question == "patient" and not self.patient) and not (
            self.question == "user" and not self.user
        )


class QuestionForm(forms.Form):
    question = forms.ChoiceField(choices=list(QUESTIONS.items()))
    mrn = forms.CharField(
        label="Patient", required=False, max_length=64,
        widget=forms.TextInput(attrs={"placeholder": "MRN", "data-scan": "", "autocomplete": "off"}),
    )  # fmt: skip
    user = forms.ModelChoiceField(User.objects.order_by("username"), required=False, empty_label="Anybody")
    since = forms.CharField(
        label="From", required=False, widget=forms.TextInput(attrs={"data-date": "", "autocomplete": "off"})
    )
    until = forms.CharField(
        label="To", required=False, widget=forms.TextInput(attrs={"data-date": "", "autocomplete": "off"})
    )

    def clean_mrn(self) -> Patient | None:
        number = "".join(str(self.cleaned_data["mrn"]).split())
        if not number:
            return None
        known = PatientIdentifier.objects.select_related("patient").filter(value=number)[:2]
        if len(known) != 1:
            raise forms.ValidationError(
                f"{'No' if not known else 'More than one'} patient has the number {number}."
            )
        return known[0].patient

    def clean_since(self) -> date | None:
        return self._day("since")

    def clean_until(self) -> date | None:
        return self._day("until")

    def _day(self, name: str) -> date | None:
        written = self.cleaned_data[name]
        day = parse_day(written) if written else None
        if written and day is None:
            raise forms.ValidationError(f"{written} is no day. Write 19-Nov-2026, t or -1w.")
        return day

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if not self.errors and data.get("question") == "patient" and not data.get("mrn"):
            self.add_error("mrn", "Enter the patient's number.")
        if not self.errors and data.get("question") == "user" and not data.get("user"):
            self.add_error("user", "Pick the user.")
        return data

    @property
    def asked(self) -> Asked:
        data = self.cleaned_data
        return Asked(data["question"], data["mrn"], data["user"], data["since"], data["until"])


def _asked(request: HttpRequest) -> Asked:
    def day(name: str) -> date | None:
        return parse_day(request.GET.get(name, ""))

    def pk(name: str) -> int:
        given = request.GET.get(name, "")
        return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else 0

    question = request.GET.get("question", "")
    patient = Patient.objects.filter(pk=pk("patient")).first() if pk("patient") else None
    user = User.objects.filter(pk=pk("user")).first() if pk("user") else None
    if question not in QUESTIONS:
        question = "patient" if patient or not user else "user"
    # Questions about everybody begin a week ago.
    since = day("from") or (today() - timedelta(days=7) if question not in {"patient", "user"} else None)
    return Asked(question, patient, user, since, day("to"))


def found(asked: Asked) -> QuerySet[AuditEvent]:
    """The rows that answer the question, newest first; a merged patient's looks are the survivor's too."""
    rows = AuditEvent.objects.order_by("-id")
    if asked.patient:
        ids = [asked.patient.pk, *asked.patient.retired.values_list("pk", flat=True)]
        rows = rows.filter(patient__in=ids)
    if asked.user:
        rows = rows.filter(user=asked.user.pk)
    if asked.question == "exports":
        rows = rows.filter(action__endswith=".export")
    if asked.question == "refused":
        rows = rows.exclude(outcome=AuditEvent.Outcome.OK)
    zone = ZoneInfo(settings.RIS_FACILITY_TZ)
    if asked.since:
        rows = rows.filter(at__gte=datetime.combine(asked.since, time(), zone))
    if asked.until:
        rows = rows.filter(at__lt=datetime.combine(asked.until + timedelta(days=1), time(), zone))
    return rows if asked.is_complete else rows.none()


@dataclass(frozen=True)
class Line:
    event: AuditEvent
    what: str
    roles: str
    patient: Patient | None


def lines(events: Iterable[AuditEvent]) -> list[Line]:
    """Rows with the roles and patients they name, in three queries."""
    events = list(events)
    roles = {
        user.pk: ", ".join(Role(role).label for role in user.roles)
        for user in User.objects.filter(pk__in={one.user for one in events})
    }
    patients = {
        one.pk: one
        for one in Patient.objects.filter(pk__in={event.patient for event in events}).prefetch_related("identifiers")
    }  # fmt: skip
    return [
        Line(
            one,
            _WORDS.get(one.action, one.action.replace(".", " ").replace("_", " ")),
            roles.get(one.user or 0, ""),
            patients.get(one.patient or 0),
        )
        for one in events
    ]


@require_http_methods(["GET", "HEAD", "POST"])
@needs("audit.view")
def audit(request: UserRequest) -> HttpResponse:
    """POST asks (a patient's number stays out of the address), GET answers."""
    if request.method == "POST":
        form = QuestionForm(request.POST)
        if form.is_valid():
            return see_other(request, f"{reverse('audit')}?{urlencode(form.asked.query)}")
        asked = Asked("patient", None, None, None, None)
    else:
        asked = _asked(request)
        form = QuestionForm(
            initial={
                "question": asked.question, "mrn": asked.patient.mrn if asked.patient else "", "user": asked.user,
                "since": show_day(asked.since),
                "until": show_day(asked.until),
            }
        )  # fmt: skip
    page = Paginator(found(asked), 60).get_page(request.GET.get("page"))
    if asked.is_complete and request.method != "POST":
        record_access(
            request.user, "audit.search", patient=asked.patient.pk if asked.patient else None, question=asked.question,
            about=asked.user.pk if asked.user else None,
        )  # fmt: skip
    context = {
        "form": form, "asked": asked, "page": page, "lines": lines(page.object_list), "export": urlencode(asked.query),
        "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "desk/admin_audit.html", context, status=422 if form.errors else 200)


@require_safe
@needs("audit.view")
def export(request: UserRequest) -> HttpResponse:
    """The answer as a table, which is itself in the trail."""
    asked = _asked(request)
    rows = lines(found(asked)[:_MOST])
    record_access(
        request.user, "audit.export", patient=asked.patient.pk if asked.patient else None, count=len(rows),
        question=asked.question, about=asked.user.pk if asked.user else None,
    )  # fmt: skip
    header = ["time", "who", "role", "what", "patient", "MRN", "subject", "where", "reason", "outcome"]
    table = as_csv(header, map(_exported, rows))
    name = f"audit-{timezone.now():%Y%m%d-%H%M}.csv"
    return HttpResponse(
        table,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _exported(line: Line) -> list[object]:
    event, patient = line.event, line.patient
    return [
        f"{moment(event.at)}:{event.at:%S}", event.username, line.roles, event.action,
        patient.name.display if patient else "", patient.mrn if patient else "", event.subject, event.source, event.reason,
        event.outcome,
    ]  # fmt: skip
