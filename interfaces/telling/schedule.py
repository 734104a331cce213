"""Appointments: SIU S12 to S15 and S26 (RAD-48), and S23, S24 for the times when a room is blocked.

A booking that was taken back and is made good again is an S12 under the number it had: the receiver has given
the time up, and an S14 would change what it no longer has.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from interfaces import engine
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.hl7.outbound import siu
from interfaces.hl7.outbound.parts import Writer
from interfaces.hl7.outbound.siu import Blocked, News
from interfaces.models import Endpoint
from interfaces.telling.base import Telling, concerns, order_of
from ris.department.models import Room
from ris.events.models import Event
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import Order
from scheduling.models import Appointment
from scheduling.states import AppointmentStatus

#: The facts by which an appointment comes and goes.
_COMES = ("appointment.booked", "appointment.rescheduled")
_GOES = ("appointment.cancelled", "patient.no_show")
#: What is told with an appointment, of itself and of its order (NTE, AIS-3, SCH-11.6).
_TOLD = {"note", "side", "priority"}


def tell(event: Event) -> None:
    if event.kind in _BLOCKS:
        _tell_block(event)
        return
    order = order_of(event.facts["order"])
    for endpoint in engine.subscribers("schedule"):
        if concerns(endpoint, order) and not _is_from(endpoint, event):
            for appointment in _appointments(event, order):
                _TELLINGS[event.kind](_Telling(endpoint, event, order, appointment))


def _names(endpoint: Endpoint) -> set[str]:
    """What the partner is called here: this line, and the inbound one that its profile names."""
    return {endpoint.name, profile.option(endpoint.profile, "no_echo")} - {""}


def _is_from(endpoint: Endpoint, event: Event) -> bool:
    return Endpoint.objects.filter(name__in=_names(endpoint), user=event.by_id).exists()


def _appointments(event: Event, order: Order) -> list[Appointment]:
    """The one the fact names; for a fact of the order the newest."""
    rows = Appointment.objects.select_related("room__facility", "booked_by__practitioner").filter(order=order)
    named = event.facts.get("appointment")
    found = rows.filter(pk=named) if named else rows.order_by("-pk")[:1]
    for one in found:
        one.order = order
    return list(found)


class _Telling(Telling):
    def __init__(self, endpoint: Endpoint, event: Event, order: Order, appointment: Appointment) -> None:
        super().__init__(endpoint, event, order)
        self.appointment = appointment

    def booked(self) -> None:
        self.send("S12", "Booked", "Booked")

    def moved(self) -> None:
        self.send("S13" if self.is_known else "S12", "Booked", "Moved to another time")

    def changed(self) -> None:
        """Note, side, urgency: for those who have the appointment."""
        if "changed" in self.event.facts and _TOLD.isdisjoint(self.event.facts["changed"]):
            return
        if self.is_known:
            arrived = self.appointment.status in (AppointmentStatus.ARRIVED, AppointmentStatus.READY)
            tells_arrivals = profile.option(self.endpoint.profile, "arrivals") == "yes"
            self.send("S14", "Started" if arrived and tells_arrivals else "Booked", "Changed")

    def cancelled(self) -> None:
        """The appointment itself, or its order with it."""
        if self.is_known:
            self.send("S15", "Cancelled", self.appointment.cancel_reason or "Cancelled")

    def missed(self) -> None:
        if self.is_known:
            self.send("S26", "Noshow", "Patient did not come")

    def arrived(self) -> None:
        self._progress("Started", "Patient has come")

    def not_arrived(self) -> None:
        self._progress("Booked", "Patient has not come yet")

    def done(self) -> None:
        running = Exam.objects.filter(order=self.order, status=ExamStatus.IN_PROGRESS)
        if self.appointment.status == AppointmentStatus.FULFILLED and not running.exists():
            self._progress("Complete", "Exam completed")

    def _progress(self, status: str, words: str) -> None:
        if profile.option(self.endpoint.profile, "arrivals") == "yes" and self.is_known:
            self.send("S14", status, words)

    @property
    def is_known(self) -> bool:
        """Whether the receiver has it: one of us told the other, and the last news was not that it is gone."""
        heard = self.appointment.source in _names(self.endpoint) or self.has_been_told(self._purpose(""))
        last = (
            Event.objects.filter(
                subject=self.order.subject, kind__in=[*_COMES, *_GOES], facts__appointment=self.appointment.pk,
                pk__lt=self.event.pk,
            ).order_by("-pk").first()
        )  # fmt: skip
        return heard and last is not None and last.kind in _COMES

    def _purpose(self, trigger: str) -> str:
        return f"appointment {self.appointment.pk} {trigger}"

    def send(self, trigger: str, status: str, reason: str) -> None:
        if status == "Booked" and self.appointment.overbook_reason:
            status = "Overbook"
        news = News(trigger, status, reason, self.event.by)
        self.tell(
            self._purpose(trigger),
            f"SIU^{trigger}",
            partial(siu.appointment_message, self.appointment, news),
        )


_TELLINGS: dict[str, Callable[[_Telling], None]] = {
    "appointment.booked": _Telling.booked,
    "appointment.rescheduled": _Telling.moved,
    "appointment.changed": _Telling.changed,
    "appointment.cancelled": _Telling.cancelled,
    "order.changed": _Telling.changed,
    "order.procedure_changed": _Telling.changed,
    "order.cancelled": _Telling.cancelled,
    "patient.no_show": _Telling.missed,
    "patient.arrived": _Telling.arrived,
    "patient.arrival_undone": _Telling.not_arrived,
    "exam.completed": _Telling.done,
}

_BLOCKS = {"room.blocked": ("S23", "Blocked"), "room.unblocked": ("S24", "Deleted")}

#: The facts told.
KINDS = (*_TELLINGS, *_BLOCKS)


def _tell_block(event: Event) -> None:
    """A room's time taken or given back, to partners that plan for us (`blocks`)."""
    trigger, status = _BLOCKS[event.kind]
    facts = event.facts
    blocked = Blocked(
        facts["block"], Room.objects.select_related("facility").get(pk=facts["room"]),
        datetime.fromisoformat(facts["starts"]), datetime.fromisoformat(facts["ends"]), facts["reason"],
    )  # fmt: skip
    news = News(trigger, status, blocked.reason, event.by)
    for endpoint in engine.subscribers("schedule"):
        if profile.option(endpoint.profile, "blocks") == "yes":
            render = partial(_render_block, endpoint, event, blocked, news)
            engine.enqueue(NewMessage(endpoint, event, "block", f"SIU^{trigger}", event.subject, render))


def _render_block(endpoint: Endpoint, event: Event, blocked: Blocked, news: News, control_id: str) -> bytes:
    return siu.block_message(blocked, news, Writer(endpoint, control_id, event.at))
