"""The talk on an order, from the exam's page and from the report's."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.pages import is_htmx, is_live, see_other, unchanged
from ris.exams import talk
from ris.exams.actions.messages import note_seen, send_message
from ris.orders.access import order_for
from ris.orders.models import Order


@needs("exam.view")
@require_http_methods(["GET", "HEAD", "POST"])
def talk_on(request: UserRequest, pk: int) -> HttpResponse:
    """Its lines, asking for news of themselves; a further line by POST."""
    if request.method == "POST":
        require(request.user, "exam.talk")
        order = order_for(request.user, pk)
        send_message(
            order, request.POST.get("text", ""), urgent=bool(request.POST.get("urgent")), by=request.user
        )
        return _after(request, order)
    if is_live(request):
        # Nobody sits behind it, so it is not noted as a look: the page it stands on was.
        order = Order.objects.get(pk=pk)
        if unchanged(request, talk.talk_version(order)):
            return HttpResponse(status=204)
        return render(request, "exams/_talk_lines.html", talk.talk_context(request.user, order))
    order = order_for(request.user, pk)
    exam = order.exams.last()
    context = {**talk.talk_context(request.user, order), "heading": order.patient.name.display, "exam": exam}
    return render(request, "exams/talk_page.html", context)


@needs("exam.talk")
@require_POST
def seen(request: UserRequest, pk: int) -> HttpResponse:
    """The other side's lines are read: they know it now."""
    order = order_for(request.user, pk)
    note_seen(order.messages.all(), by=request.user)
    return _after(request, order)


def _after(request: UserRequest, order: Order) -> HttpResponse:
    if is_htmx(request):
        context = {**talk.talk_context(request.user, order), "said": True}
        return render(request, "exams/_talk.html", context)
    exam = order.exams.last()
    return see_other(request, f"/exams/{exam.pk}#talk" if exam else f"/orders/{order.pk}/talk")


@needs("exam.talk")
@require_GET
def talks(request: UserRequest) -> HttpResponse:
    """How many questions wait for the user's side."""
    context = talk.talks_context(request.user)
    if unchanged(request, context["version"]):
        return HttpResponse(status=204)
    return render(request, "exams/_talks.html", context)


@needs("exam.talk")
@require_GET
def waiting(request: UserRequest) -> HttpResponse:
    found = talk.waiting_talks(request.user)
    record_access(request.user, "talk.list", count=len(found))
    return render(request, "exams/talks.html", {"heading": "Questions", "talks": found})
