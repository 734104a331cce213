"""Where a site's viewer shows the images of an exam: IHE Invoke Image Display (RAD-106), or any address of its own."""

from urllib.parse import quote

from interfaces.models import Direction, Endpoint, Protocol
from ris.exams.models import Exam


def address_of(exam: Exam) -> str:
    """The viewer's address for this exam's study; "" where the site has none.

    A viewer for the exam's facility goes before one for all.
    """
    facility = exam.order.facility.code
    viewers = [
        one
        for one in Endpoint.objects.filter(
            protocol__in=[Protocol.DICOM, Protocol.DICOMWEB], direction=Direction.OUT, active=True,
            profile__has_key="viewer",
        ).order_by("pk")
        if one.option("viewer_facility") in ("", facility)
    ]  # fmt: skip
    if not viewers:
        return ""
    chosen = max(viewers, key=lambda one: one.option("viewer_facility") == facility)
    number = next(
        iter(sorted(exam.order.patient.identifiers.all(), key=lambda one: (not one.primary, one.pk))), None
    )
    address = chosen.option("viewer")
    for name, value in (
        ("study_uid", _study_of(exam)),
        ("accession", exam.order.accession_number),
        ("patient_id", number.value if number else ""),
        ("issuer", number.authority if number else ""),
    ):
        address = address.replace(f"{{{name}}}", quote(value, safe=""))
    return address


def _study_of(exam: Exam) -> str:
    """The UID the archive has it under: some modalities take one of their own."""
    known = exam.procedure.images.order_by("-instance_count").first()
    return known.study_instance_uid if known else exam.procedure.study_instance_uid


def is_set_up() -> bool:
    return Endpoint.objects.filter(
        protocol__in=[Protocol.DICOM, Protocol.DICOMWEB], direction=Direction.OUT, active=True, profile__has_key="viewer"
    ).exists()  # fmt: skip
