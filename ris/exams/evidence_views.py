"""One click for what evidence shows: end an exam, have done one that nobody began, and the way back."""

from django.http import HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from ris.accounts.doors import UserRequest, needs
from ris.core.errors import Conflict
from ris.core.pages import see_other
from ris.exams import actions, completion
from ris.exams.access import exam_for
from ris.orders.access import order_for


def _back(request: UserRequest, otherwise: str) -> str:
    """The page the click was made on."""
    asked = request.POST.get("back", "")
    return asked if url_has_allowed_host_and_scheme(asked, None) else otherwise


@needs("exam.perform")
@require_POST
def complete(request: UserRequest, pk: int) -> HttpResponse:
    """End the exam by the best evidence there is now."""
    exam = exam_for(request.user, pk)
    verdict = completion.verdicts(list(completion.running().filter(pk=pk))).get(pk)
    if verdict is None:
        raise Conflict("Nothing shows that this exam is over. Open it, and complete it by hand.")
    actions.complete_by_evidence(exam, verdict.evidence, words=verdict.words, by=request.user)
    said = f"{exam.order.accession_number} is complete. {verdict.words}"
    return see_other(request, _back(request, f"/exams/{pk}"), said, undo=f"/exams/{pk}/reopen")


@needs("exam.perform")
@require_POST
def reopen(request: UserRequest, pk: int) -> HttpResponse:
    exam = exam_for(request.user, pk)
    reason = request.POST.get("reason", "").strip() or "Taken back right after it was completed."
    actions.reopen_exam(exam, reason=reason, by=request.user)
    return see_other(request, _back(request, f"/exams/{pk}"), "The exam goes on")


@needs("exam.perform")
@require_POST
def done(request: UserRequest, pk: int) -> HttpResponse:
    """Have an order done that nobody started and whose images are in the archive."""
    order = order_for(request.user, pk)
    found = next(iter(completion.unstarted(orders=[pk])), None)
    if found is None:
        raise Conflict("The archive holds no images of this order any more, or it has been started.")
    exams = actions.do_by_evidence(found, by=request.user, complete=True)
    said = f"{order.accession_number} is started and complete. {found.words}"
    return see_other(
        request, _back(request, f"/exams/{exams[0].pk}"), said, undo=f"/exams/{exams[0].pk}/reopen"
    )
