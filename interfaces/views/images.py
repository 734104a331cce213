"""From an exam to its images, and to what the archives know of its patient."""

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from interfaces import priors, viewer
from ris.accounts.doors import UserRequest, needs
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.exams.access import exam_for


@require_safe
@needs("exam.view")
def open_images(request: UserRequest, pk: int) -> HttpResponse:
    """Send the user on to the viewer; noted as a look at the images."""
    exam = exam_for(request.user, pk)
    address = viewer.address_of(exam)
    if not address:
        raise NotFound("No viewer is set up for this facility. An administrator can name one under Partners.")
    record_access(
        request.user, "images.opened", patient=exam.order.patient_id, subject=exam.order.accession_number
    )
    return HttpResponseRedirect(address)


@require_safe
@needs("exam.view")
def archive_studies(request: UserRequest, pk: int) -> HttpResponse:
    """The patient's studies at the archives, as a part of a page that is shown already."""
    exam = exam_for(request.user, pk)
    found = priors.of(exam)
    record_access(
        request.user, "archive.asked", patient=exam.order.patient_id, subject=exam.order.accession_number,
        count=len(found.priors),
    )  # fmt: skip
    return render(request, "interfaces/_priors.html", {"found": found, "exam": exam})
