"""What the admin pages show of the department; reads only."""

from django.db.models import Model, QuerySet

from ris.core.names import fold
from ris.core.tables import as_csv
from ris.department.actions import COLUMNS, as_text
from ris.department.models import Facility, Practitioner, ProcedureType, Room, Station
from ris.events.models import Event


def rooms() -> QuerySet[Room]:
    return (
        Room.objects.select_related("facility")
        .prefetch_related("stations")
        .order_by("facility", "position", "code")
    )


def stations() -> QuerySet[Station]:
    return Station.objects.select_related("room").order_by("ae_title")


def facilities() -> QuerySet[Facility]:
    return Facility.objects.order_by("code")


def practitioners(text: str = "") -> QuerySet[Practitioner]:
    """Those whose names or number hold every word."""
    rows = Practitioner.objects.select_related("user").order_by("family", "given", "pk")
    for word in text.split():
        rows = (
            rows.filter(family__icontains=word)
            | rows.filter(given__icontains=word)
            | rows.filter(identifier__istartswith=word)
        )
    return rows


def catalogue(text: str = "", modality: str = "") -> QuerySet[ProcedureType]:
    """The exams whose code, name, body part or synonyms hold every word; those switched off come last."""
    rows = ProcedureType.objects.order_by("-active", "modality", "name")
    for word in fold(text).split():
        rows = rows.filter(search__contains=word)
    return rows.filter(modality=modality) if modality else rows


def catalogue_csv() -> str:
    """The catalogue as `import_catalogue` takes it."""
    rows = ([as_text(exam, name) for name in COLUMNS] for exam in ProcedureType.objects.order_by("code"))
    return as_csv(COLUMNS, rows)


def history(instance: Model) -> QuerySet[Event]:
    """Who changed a record of the department, newest first."""
    subject = f"department:{instance._meta.model_name}:{instance.pk}"
    return Event.objects.filter(subject=subject).select_related("by").order_by("-pk")
