"""Paper (ux.md 2.22): label, wristband, dose card, attendance note. What is coded is a number and nothing else."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ris.accounts.doors import UserRequest, needs
from ris.exams.access import exam_for
from ris.exams.barcodes import code128, qr
from ris.exams.page import dose_lines
from ris.orders.access import order_for
from ris.orders.models import Order


def _context(order: Order) -> dict[str, Any]:
    exam = order.exams.select_related("room", "technologist").last()
    planned = order.appointments.select_related("room").last()
    return {
        "order": order,
        "patient": order.patient,
        "procedures": order.procedures.select_related("procedure_type"),
        "exam": exam,
        "when": exam.started_at if exam else planned.starts_at if planned else order.ordered_at,
        "room": (exam.room if exam else None) or (planned.room if planned else None),
        "back": f"/exams/{exam.pk}" if exam else f"/orders/{order.pk}",
    }


@needs("exam.view")
@require_safe
def label(request: UserRequest, pk: int) -> HttpResponse:
    """57 × 32 mm, for a request, a syringe or a disc."""
    order = order_for(request.user, pk)
    return render(request, "exams/print_label.html", {**_context(order), "code": qr(order.accession_number)})


@needs("exam.view")
@require_safe
def wristband(request: UserRequest, pk: int) -> HttpResponse:
    """Its codes hold the MRN, which every start reads."""
    order = order_for(request.user, pk)
    number = order.patient.mrn or order.accession_number
    context = {**_context(order), "code": qr(number), "bars": code128(number)}
    return render(request, "exams/print_wristband.html", context)


@needs("exam.view")
@require_safe
def dose_card(request: UserRequest, pk: int) -> HttpResponse:
    """For the patient to keep: what was done and with which dose."""
    exam = exam_for(request.user, pk)
    context = {**_context(exam.order), "exam": exam, "lines": dose_lines(exam)}
    return render(request, "exams/print_dose.html", context)


@needs("exam.view")
@require_safe
def attendance(request: UserRequest, pk: int) -> HttpResponse:
    """That somebody was here and when; what was examined only when asked for."""
    context = {**_context(order_for(request.user, pk)), "with_exam": request.GET.get("exam") == "1"}
    return render(request, "exams/print_attendance.html", context)
