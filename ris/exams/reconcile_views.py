"""What no order was found for, and what was taken for the wrong one: match, order here, move, or say why not.

A performed step and a study of the archive have the same pages, under /exams/unmatched/ and /exams/studies/.
"""

import zlib
from collections.abc import Callable

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import Conflict, MissingData, NotFound, RisError
from ris.core.pages import is_live, see_other, unchanged
from ris.department.models import Facility, Station
from ris.exams import actions, reconciling
from ris.exams.access import step_for, study_for
from ris.exams.models import PerformedProcedureStep, StudyImages
from ris.exams.reconcile_forms import DiscardForm, MoveForm, OrderHereForm, SettleForm
from ris.exams.reconciling import Waiting
from ris.orders.access import order_for
from ris.orders.actions import NewOrder
from ris.orders.models import Order

LIST = "/exams/unmatched"


@needs("exam.reconcile")
@require_GET
def unmatched(request: UserRequest) -> HttpResponse:
    rows = reconciling.waiting()
    shown = repr([(row.base, row.status, row.images, row.problem) for row in rows])
    version = f"{len(rows)}-{zlib.crc32(shown.encode()):x}"
    if unchanged(request, version):
        return HttpResponse(status=204)
    if not is_live(request):
        record_access(request.user, "performed_step.list", count=len(rows))
    template = "exams/_unmatched.html" if is_live(request) else "exams/unmatched.html"
    return render(request, template, {"rows": rows, "version": version})


# ---- match


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def match(request: UserRequest, pk: int) -> HttpResponse:
    """Say which order a step's images belong to."""
    step = step_for(request.user, pk)
    row = reconciling.of_step(step)
    taken = reconciling.taken_for(step)

    def act(order: Order) -> None:
        actions.match_performed_step(step, order, by=request.user)

    likely = reconciling.likely_orders(
        study_instance_uid=step.study_instance_uid, accession_number=step.accession_number,
        patient_id=step.patient_id, station=step.station_ae_title, at=step.started_at,
    )  # fmt: skip
    return _match(request, row, act, likely, taken=taken, settle=SettleForm() if taken else None)


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def match_study(request: UserRequest, pk: int) -> HttpResponse:
    """The same for a study of which only the archive knows."""
    images = study_for(request.user, pk)

    def act(order: Order) -> None:
        actions.match_images(images, order, by=request.user)

    likely = reconciling.likely_orders(
        study_instance_uid=images.study_instance_uid, accession_number=images.accession_number,
        patient_id=images.patient_id, at=images.first_seen_at,
    )  # fmt: skip
    return _match(request, reconciling.of_study(images), act, likely)


def _match(
    request: UserRequest, row: Waiting, act: Callable[[Order], None], likely: list[Order], **more: object
) -> HttpResponse:
    problem = ""
    if request.method == "POST":
        try:
            order = order_for(request.user, int(request.POST.get("order") or 0))
            act(order)
            undo = f"{row.base}/undo" if row.base.startswith(LIST) else ""
            return see_other(request, LIST, f"Matched to {order.patient.name.display}.", undo=undo)
        except (NotFound, ValueError):
            problem = "Pick the order the images belong to."
        except (Conflict, MissingData) as refused:
            problem = refused.message
    context = {
        "row": row, "orders": likely, "heading": "Match to an order", "problem": problem, "discard": DiscardForm(),
        "may_order": allowed(request.user, "order.place"), **more,
    }  # fmt: skip
    return render(request, "exams/match.html", context, status=409 if problem else 200)


@needs("exam.reconcile")
@require_POST
def find_orders(request: UserRequest) -> HttpResponse:
    """Search as one types. The text may be a name, so it comes by POST and is not kept."""
    text = request.POST.get("q", "")[:80]
    return render(request, "exams/_orders.html", {"orders": reconciling.orders_named(text), "text": text})


@needs("exam.reconcile")
@require_POST
def find_orders_of(request: UserRequest, pk: int) -> HttpResponse:
    return find_orders(request)


@needs("exam.reconcile")
@require_POST
def find_patients(request: UserRequest) -> HttpResponse:
    text = request.POST.get("q", "")[:80]
    context = {"patients": reconciling.patients_named(text), "text": text}
    return render(request, "exams/_patients.html", context)


@needs("exam.reconcile")
@require_POST
def undo_match(request: UserRequest, pk: int) -> HttpResponse:
    actions.unmatch_performed_step(step_for(request.user, pk), by=request.user)
    return see_other(request, LIST, "The match is taken back.")


# ---- the order is born here


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def order_here(request: UserRequest, pk: int) -> HttpResponse:
    """The exam came before its order: ask for it here, under the study its images have."""
    step = step_for(request.user, pk)

    def act(new: NewOrder) -> Order:
        return actions.order_performed_step(step, new, by=request.user)

    return _order(request, reconciling.of_step(step), _site(step), act)


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def order_study_here(request: UserRequest, pk: int) -> HttpResponse:
    images = study_for(request.user, pk)

    def act(new: NewOrder) -> Order:
        return actions.order_images(images, new, by=request.user)

    return _order(request, reconciling.of_study(images), None, act)


def _site(step: PerformedProcedureStep) -> Facility | None:
    station = Station.objects.filter(ae_title=step.station_ae_title).select_related("room__facility").first()
    return station.room.facility if station else None


def _order(
    request: UserRequest, row: Waiting, site: Facility | None, act: Callable[[NewOrder], Order]
) -> HttpResponse:
    form = OrderHereForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        data = form.cleaned_data
        facility = site or Facility.objects.order_by("pk").first()
        assert facility is not None, "a department has a facility"
        new = NewOrder(
            patient=data["patient"], facility=facility, procedure_type=data["procedure"], side=data["side"],
            reason=data["reason"],
        )  # fmt: skip
        try:
            order = act(new)
        except RisError as refused:
            form.add_error(None, refused.message)
        else:
            name = order.patient.name.display
            return see_other(request, LIST, f"{name}: order {order.accession_number} is placed and matched.")
    data = getattr(form, "cleaned_data", {})
    context = {
        "row": row, "form": form, "heading": "Create the order here", "patient_chosen": data.get("patient"),
        "exam_chosen": data.get("procedure"),
    }  # fmt: skip
    return render(request, "exams/order_here.html", context, status=422 if form.errors else 200)


# ---- no order is needed


@needs("exam.reconcile")
@require_POST
def discard(request: UserRequest, pk: int) -> HttpResponse:
    step = step_for(request.user, pk)
    actions.discard_performed_step(step, reason=_reason(request), by=request.user)
    return see_other(request, LIST, "Taken off the list.", undo=f"{LIST}/{pk}/restore")


@needs("exam.reconcile")
@require_POST
def restore(request: UserRequest, pk: int) -> HttpResponse:
    actions.restore_performed_step(step_for(request.user, pk), by=request.user)
    return see_other(request, LIST, "Back on the list.")


@needs("exam.reconcile")
@require_POST
def discard_study(request: UserRequest, pk: int) -> HttpResponse:
    images: StudyImages = study_for(request.user, pk)
    actions.discard_images(images, reason=_reason(request), by=request.user)
    return see_other(request, LIST, "Taken off the list.", undo=f"/exams/studies/{pk}/restore")


@needs("exam.reconcile")
@require_POST
def restore_study(request: UserRequest, pk: int) -> HttpResponse:
    actions.restore_images(study_for(request.user, pk), by=request.user)
    return see_other(request, LIST, "Back on the list.")


def _reason(request: UserRequest) -> str:
    form = DiscardForm(request.POST)
    if not form.is_valid():
        raise MissingData("Say why no order is needed for it.", location="reason")
    return str(form.cleaned_data["reason"])


# ---- from an exam's page


@needs("exam.reconcile")
@require_http_methods(["GET", "HEAD", "POST"])
def reassign(request: UserRequest, pk: int) -> HttpResponse:
    """The wrong entry was picked at the machine: the images go to the order they belong to."""
    step = step_for(request.user, pk)
    form = MoveForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            order = order_for(request.user, form.cleaned_data["order"])
            actions.reassign_performed_step(step, order, reason=form.cleaned_data["reason"], by=request.user)
        except RisError as refused:
            form.add_error(None, refused.message)
        else:
            return see_other(
                request, f"/orders/{order.pk}", f"The images are {order.patient.name.display}’s now."
            )
    context = {
        "row": reconciling.of_step(step), "taken": reconciling.taken_for(step), "form": form,
        "heading": "Move to another order",
    }  # fmt: skip
    return render(request, "exams/reassign.html", context, status=422 if form.errors else 200)
