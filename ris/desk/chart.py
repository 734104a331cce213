"""A patient's exams across the workflow, and what happened to one order, for the pages that tell them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from ris.accounts.models import User
from ris.core.formats import local
from ris.department.models import Modality
from ris.events.models import Event
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.access import orders_for
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import Patient
from ris.reporting.models import Report, ReportPart
from ris.reporting.states import SIGNED, ReportStatus
from scheduling.models import Appointment
from scheduling.states import LIVE, PENDING, AppointmentStatus


@dataclass(frozen=True)
class Entry:
    """One requested procedure as far as it has come."""

    order: Order
    procedure: RequestedProcedure
    appointment: Appointment | None
    exam: Exam | None
    report: Report | None
    #: A missed appointment has a row of its own.
    missed: bool = False

    @property
    def key(self) -> str:
        return (
            f"{self.procedure.pk}-{self.appointment.pk}"
            if self.missed and self.appointment
            else f"{self.procedure.pk}"
        )

    @property
    def status(self) -> str:
        if self.missed:
            return AppointmentStatus.NO_SHOW
        if self.report is not None:
            return self.report.status
        if self.exam is not None:
            return self.exam.status
        if self.appointment is not None and self.appointment.status in PENDING:
            return self.appointment.status
        return self.order.status

    @property
    def at(self) -> datetime:
        """When it was done, is planned, or was asked."""
        if self.exam is not None and not self.missed:
            return self.exam.started_at
        if self.appointment is not None:
            return self.appointment.starts_at
        return self.order.ordered_at

    @property
    def is_asked_only(self) -> bool:
        return self.exam is None and self.appointment is None

    @property
    def can_be_booked(self) -> bool:
        return self.order.status == OrderStatus.REQUESTED and not self.missed

    @property
    def is_over(self) -> bool:
        return self.missed or self.order.status in {OrderStatus.CANCELLED, OrderStatus.DISCONTINUED}

    @property
    def where(self) -> str:
        room = self.exam.room if self.exam else self.appointment.room if self.appointment else None
        return room.name if room else ""

    @property
    def modality(self) -> str:
        return self.procedure.procedure_type.modality if self.procedure.procedure_type else ""

    @property
    def signed_by(self) -> str:
        """Who signed last, as printed; parts are kept in their order."""
        parts = list(self.report.parts.all()) if self.report else []
        return parts[-1].signed_name if parts else ""

    @property
    def has_text(self) -> bool:
        """Something of the report has been released."""
        return self.report is not None and self.report.status != ReportStatus.DRAFT

    @property
    def is_signed(self) -> bool:
        return self.report is not None and self.report.status in SIGNED


def course() -> list[Any]:
    """What `entries_of` reads of orders, in a fixed number of queries."""
    parts = ReportPart.objects.only("report", "number", "signed_name", "kind", "released_at")
    return [
        Prefetch("appointments", Appointment.objects.select_related("room").order_by("-pk")),
        Prefetch("exams", Exam.objects.select_related("room", "reported__report").order_by("-pk")),
        Prefetch("exams__reported__report__parts", parts),
    ]


def entries_of(order: Order) -> Iterator[Entry]:
    live = next((one for one in order.appointments.all() if one.status in LIVE), None)
    for procedure in order.procedures.all():
        exam = next(
            (one for one in order.exams.all()
             if one.procedure_id == procedure.pk and one.status != ExamStatus.ENTERED_IN_ERROR),
            None,
        )  # fmt: skip
        yield Entry(order, procedure, live, exam, report_of(exam))
        for appointment in order.appointments.all():
            if appointment.status == AppointmentStatus.NO_SHOW:
                yield Entry(order, procedure, appointment, None, None, missed=True)


def report_of(exam: Exam | None) -> Report | None:
    # The reverse side of the one-to-one is absent, not None, while the exam is unread.
    reported = getattr(exam, "reported", None)
    return reported.report if reported else None


def orders_of(user: User, patient: Patient) -> QuerySet[Order]:
    return orders_for(user).filter(patient=patient).order_by("-ordered_at").prefetch_related(*course())


@dataclass(frozen=True)
class Timeline:
    entries: list[Entry]
    modality: str

    @property
    def modalities(self) -> list[tuple[str, str]]:
        """(code, word) of the modalities there are exams of."""
        present = {entry.modality for entry in self.entries}
        return [(one.value, one.label) for one in Modality if one.value in present]

    @property
    def shown(self) -> list[Entry]:
        chosen = [one for one in self.entries if not self.modality or one.modality == self.modality]
        return sorted(chosen, key=lambda one: one.at, reverse=True)

    @property
    def years(self) -> list[tuple[int, list[Entry]]]:
        return [(year, list(rows)) for year, rows in groupby(self.shown, key=lambda one: local(one.at).year)]

    @property
    def to_book(self) -> Entry | None:
        """The request that waits longest."""
        waiting = [one for one in self.entries if one.can_be_booked]
        return min(waiting, key=lambda one: one.at, default=None)


def timeline(orders: Iterable[Order], modality: str = "") -> Timeline:
    return Timeline([entry for order in orders for entry in entries_of(order)], modality)


# ---- one order


_HAPPENED = {
    "order.placed": "Ordered",
    "order.changed": "Changed",
    "order.held": "Held",
    "order.released": "Released",
    "order.cancelled": "Cancelled",
    "order.discontinued": "Discontinued",
    "order.procedure_mapped": "Exam code matched",
    "order.procedure_changed": "Another exam done",
    "order.numbered": "Numbered by the placer",
    "appointment.booked": "Booked",
    "appointment.rescheduled": "Moved to another time",
    "appointment.cancelled": "Booking cancelled",
    "appointment.confirmed": "Confirmed by the patient",
    "patient.arrived": "Patient arrived",
    "patient.arrival_undone": "Arrival taken back",
    "patient.ready": "Patient called",
    "patient.ready_undone": "Call taken back",
    "patient.no_show": "Patient did not come",
    "safety.answered": "Safety questions answered",
    "safety.reviewed": "Safety reviewed with the patient",
    "safety.clearance_asked": "Clearance asked for",
    "safety.cleared": "Cleared",
    "safety.refused": "Clearance refused",
    "safety.begun_against_stop": "Begun although a safety stop stood",
    "protocol.wanted": "Protocol wanted",
    "protocol.bypassed": "Protocol by rule",
    "protocol.approved": "Protocol approved",
    "protocol.asked": "Referrer asked about the protocol",
    "protocol.rejected": "Returned to the referrer",
    "protocol.lapsed": "Protocol no longer needed",
    "exam.administered": "Contrast or supply given",
    "exam.supply_wasted": "Supply spoilt",
    "exam.administration_withdrawn": "Entry of a supply withdrawn",
    "exam.started": "Exam started",
    "exam.start_undone": "Start taken back",
    "exam.event_noted": "Noted at the scanner",
    "exam.event_withdrawn": "Note withdrawn",
    "exam.message_sent": "Question or answer",
    "exam.dose_noted": "Dose told",
    "exam.completed": "Exam completed",
    "exam.completed_by_evidence": "Completed by evidence",
    "exam.reopened": "Exam goes on",
    "exam.end_confirmed": "End confirmed by the modality",
    "exam.discontinued": "Exam discontinued",
    "exam.commented": "Note written on the exam",
    "exam.identity_checked": "Patient identified",
    "exam.identity_refused": "Another patient's number was scanned",
    "report.opened": "Opened for reading",
    "report.preliminary": "Preliminary report released",
    "report.signed": "Report signed",
    "report.addended": "Addendum signed",
    "report.corrected": "Correction signed",
    "report.exam_added": "Read together with another exam",
    "report.cancelled": "Report cancelled",
    "report.withdrawn": "Report withdrawn",
    "charge.captured": "Charge captured",
    "charge.held": "Charge held",
    "charge.released": "Charge released",
    "charge.voided": "Charge voided",
}
_FIELDS = {
    "clinical_info": "clinical information",
    "danger_code": "warning",
    "ordering": "referrer",
    "wanted_at": "wanted day",
    "callback_phone": "phone to call back",
}


def family(order: Order) -> list[tuple[str, Order]]:
    """(how it belongs to this one, the other order)."""
    found = [("Part of", order.parent), ("In the place of", order.replaces)]
    later = Order.objects.filter(replaces=order).first()
    known = [(words, one) for words, one in [*found, ("Replaced by", later)] if one is not None]
    return [*known, *(("Has the part", child) for child in order.children.order_by("pk"))]


@dataclass(frozen=True)
class Happening:
    at: datetime
    words: str
    who: str


def history(order: Order) -> list[Happening]:
    """What happened to the order, the newest first, in words."""
    events = Event.objects.select_related("by").filter(subject=order.subject).order_by("-id")[:200]
    return [Happening(event.at, _in_words(event), str(event.by)) for event in events]


def _in_words(event: Event) -> str:
    words = _HAPPENED.get(event.kind) or event.kind.replace(".", " ").replace("_", " ").capitalize()
    changed = [_FIELDS.get(one, one.replace("_", " ")) for one in event.facts.get("changed", [])]
    return f"{words}: {', '.join(changed)}" if changed else words


def next_appointments(patients: Iterable[Patient]) -> dict[int, Appointment]:
    """The next appointment from today on of each patient, so that most calls end at the search."""
    midnight = local(timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = (
        Appointment.objects.select_related("room")
        .filter(
            patient__in=[one.pk for one in patients], status__in=PENDING, during__startswith__gte=midnight
        )
        .order_by("during")
    )
    first: dict[int, Appointment] = {}
    for row in rows:
        first.setdefault(row.patient_id, row)
    return first


def booked_times(orders: Iterable[Order]) -> dict[int, Appointment]:
    """The live appointment of each order."""
    rows = Appointment.objects.select_related("room").filter(
        order__in=[one.pk for one in orders], status__in=LIVE
    )
    return {row.order_id: row for row in rows}
