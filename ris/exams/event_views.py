"""What is noted while an exam is made: events, another exam, a helper, a dose that no machine tells."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import Role, User
from ris.core.errors import BadValue, Conflict, MissingData, NotFound
from ris.core.pages import is_htmx, see_other, toast, unchanged
from ris.exams.access import exam_for
from ris.exams.actions import note_dose
from ris.exams.actions.events import change_exam, name_assistant, note_event, withdraw_event
from ris.exams.forms import CHANGE_REASONS, ChangeForm, DoseForm
from ris.exams.levels import TYPED
from ris.exams.models import Exam, ExamEvent
from ris.exams.models_dose import DoseSource
from ris.exams.page import exam_context, exam_version, exams_like
from ris.orders.models import Side


def _back(request: UserRequest, found: Exam, text: str, *, undo: str = "") -> HttpResponse:
    """The page's live part as it is now, with words and a way back."""
    if not is_htmx(request):
        return see_other(request, f"/exams/{found.pk}", text, undo=undo)
    context = {**exam_context(request.user, exam_for(request.user, found.pk, live=True)), "noted": True}
    page = render(request, "exams/_exam.html", context)
    return toast(request, page, text, undo=undo)


@needs("exam.perform")
@require_POST
def note(request: UserRequest, pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    sent = request.POST
    count = sent.get("image_count", "")
    event = note_event(
        found, sent.get("kind", ""), severity=sent.get("severity", ""), reason=sent.get("reason", ""),
        image_count=int(count) if count.isdecimal() and len(count) < 5 else None, text=sent.get("text", ""),
        by=request.user,
    )  # fmt: skip
    words = f"{event.get_kind_display()} is noted."
    return _back(request, found, words, undo=f"/exams/{pk}/events/{event.pk}/withdraw?undo=1")


@needs("exam.perform")
@require_POST
def withdraw(request: UserRequest, pk: int, event_pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    event = ExamEvent.objects.select_related("exam__order", "by").filter(pk=event_pk, exam=found).first()
    if event is None:
        raise NotFound("There is no such event on this exam.")
    reason = "Taken back at once" if request.GET.get("undo") else request.POST.get("reason", "")
    withdraw_event(event, reason=reason, by=request.user)
    return _back(request, found, f"{event.get_kind_display()} is withdrawn.")


@needs("exam.perform")
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: UserRequest, pk: int) -> HttpResponse:
    """Another exam is done than was asked for: pick it, say why."""
    found = exam_for(request.user, pk)
    sent = request.POST.copy()
    if sent.get("other"):  # from the catalogue, rather than one of the likely
        sent["procedure"] = sent.get("other", "")
    form = ChangeForm(sent if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        told = form.cleaned_data
        try:
            change_exam(found, told["procedure"], side=told["side"], reason=told["reason"], by=request.user)
        except (BadValue, MissingData, Conflict) as problem:
            form.add_error(problem.location if problem.location in form.fields else None, problem.message)
        else:
            return see_other(request, f"/exams/{pk}", f"The exam is now {told['procedure'].name}.")
    context = {
        "heading": "Change the exam", "exam": found, "form": form, "patient": found.order.patient,
        "likely": exams_like(found), "reasons": CHANGE_REASONS, "sides": Side.choices[1:],
    }  # fmt: skip
    return render(request, "exams/change.html", context, status=422 if form.errors else 200)


@needs("exam.perform")
@require_POST
def assistant(request: UserRequest, pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    chosen = request.POST.get("assistant", "")
    helper = (
        User.objects.filter(pk=int(chosen), is_active=True, roles__contains=[Role.TECHNOLOGIST]).first()
        if chosen.isdecimal()
        else None
    )
    name_assistant(found, helper, by=request.user)
    return _back(request, found, f"Assisted by {helper}." if helper else "Nobody assisted.")


@needs("exam.perform")
@require_http_methods(["GET", "HEAD", "POST"])
def dose(request: UserRequest, pk: int) -> HttpResponse:
    """The dose as it stands on the console, where no machine has told it."""
    found = exam_for(request.user, pk)
    kind = found.procedure.procedure_type
    form = DoseForm(
        request.POST if request.method == "POST" else None,
        quantities=TYPED.get(kind.modality if kind else "", ("dlp_mgycm", "dap_gycm2")),
    )
    if request.method == "POST" and form.is_valid():
        told: dict[str, Any] = form.cleaned_data
        try:
            note_dose(found, source=DoseSource.TYPED, by=request.user, **told)
        except (BadValue, MissingData) as problem:
            form.add_error(problem.location if problem.location in form.fields else None, problem.message)
        else:
            return see_other(request, f"/exams/{pk}", "The dose is kept.")
    context = {"heading": "Dose", "exam": found, "form": form, "patient": found.order.patient}
    return render(request, "exams/dose.html", context, status=422 if form.errors else 200)


@needs("exam.view")
@require_GET
def live(request: UserRequest, pk: int) -> HttpResponse:
    """What the page shows of a running exam, asking for news of itself."""
    found = Exam.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such exam.")
    if unchanged(request, exam_version(found)):
        return HttpResponse(status=204)
    context = exam_context(request.user, exam_for(request.user, pk, live=True))
    return render(request, "exams/_exam.html", context)
