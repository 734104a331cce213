"""What no order was found for: match it, or say why none is needed."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.audit.trail import record_access
from ris.core.errors import Conflict, MissingData, NotFound
from ris.core.pages import is_live, see_other, unchanged
from ris.exams import actions, worklists
from ris.exams.access import step_for
from ris.exams.forms import DiscardForm
from ris.orders.access import order_for


@needs("exam.reconcile")
@require_GET
def unmatched(request: UserRequest) -> HttpResponse:
    steps = list(worklists.unmatched_steps()[:200])
    version = "-".join(map(str, (len(steps), max((step.pk for step in steps), default=0),
                                 sum(step.version for step in steps))))  # fmt: skip
    if unchanged(request, version):
        return HttpResponse(status=204)
    if not is_live(request):
        record_access(request.user, "performed_step.list", count=len(steps))
    rows = [(step, *worklists.reported_counts(step)) for step in steps]
    template = "exams/_unmatched.html" if is_live(request) else "exams/unmatched.html"
    return render(request, template, {"rows": rows, "version": version})


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def match(request: UserRequest, pk: int) -> HttpResponse:
    """Say which order the images belong to."""
    step = step_for(request.user, pk)
    problem = ""
    if request.method == "POST":
        try:
            order = order_for(request.user, int(request.POST.get("order") or 0))
            actions.match_performed_step(step, order, by=request.user)
            return see_other(request, "/exams/unmatched", f"Matched to {order.patient.name.display}.")
        except NotFound:
            problem = "Pick the order the images belong to."
        except (Conflict, MissingData) as refused:
            problem = refused.message
    context = {
        "step": step,
        "counts": worklists.reported_counts(step),
        "orders": worklists.likely_orders(step),
        "heading": "Match to an order",
        "problem": problem,
        "discard": DiscardForm(),
    }
    return render(request, "exams/match.html", context, status=409 if problem else 200)


@needs("exam.reconcile")
@require_POST
def find_orders(request: UserRequest, pk: int) -> HttpResponse:
    """Search as one types. The text may be a name, so it comes by POST and is not kept."""
    orders = worklists.orders_named(request.POST.get("q", "")[:80])
    return render(request, "exams/_orders.html", {"orders": orders, "text": request.POST.get("q", "")})


@needs("exam.reconcile")
@require_POST
def discard(request: UserRequest, pk: int) -> HttpResponse:
    step = step_for(request.user, pk)
    form = DiscardForm(request.POST)
    if not form.is_valid():
        raise MissingData("Say why no order is needed for it.", location="reason")
    actions.discard_performed_step(step, reason=form.cleaned_data["reason"], by=request.user)
    return see_other(request, "/exams/unmatched", "Taken off the list.")
