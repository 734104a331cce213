"""The UIDs of the objects a report becomes: they follow from what was signed, so messages can name what is stored."""

from interfaces.models import Direction, Endpoint, Protocol
from ris.core.identifiers import uid_of
from ris.reporting.models import ReportPart

SR, PDF, REJECTION = "sr", "pdf", "ko"


def instance_uid(shape: str, part: ReportPart, study: str) -> str:
    return uid_of(f"{shape} of {part.digest} in {study}")


def series_uid(shape: str, study: str) -> str:
    return uid_of(f"{shape} series of {study}")


def are_stored(shape: str) -> bool:
    """Whether some archive is sent objects of this shape."""
    archives = Endpoint.objects.filter(
        protocol__in=[Protocol.DICOM, Protocol.DICOMWEB], direction=Direction.OUT, active=True,
        facts__contains=["results"],
    )  # fmt: skip
    return any((one.option("objects") or SR) in (shape, "both") for one in archives)
