"""Orders and procedures: RAD-3 status to the placer, RAD-4 and RAD-13 to image and report managers."""

from collections.abc import Callable
from datetime import datetime

from interfaces import engine
from interfaces.hl7 import profile
from interfaces.hl7.outbound import orm
from interfaces.hl7.outbound.parts import Writer
from interfaces.telling.base import Telling, concerns, order_of
from ris.events.models import Event
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import RequestedProcedure
from ris.orders.states import OrderStatus
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.states import LIVE

#: Purposes begin with these; `has_been_told` looks for them.
_PROCEDURE, _STATUS = "procedure", "status"


def tell(event: Event) -> None:
    order = order_of(event.facts["order"])
    for endpoint in engine.subscribers("orders"):
        if concerns(endpoint, order):
            _TELLINGS[event.kind](_Telling(endpoint, event, order))


class _Telling(Telling):
    def status(self, code: str) -> None:
        """ORC-1 SC to the placer."""
        if profile.option(self.endpoint.profile, "statuses") == "yes":
            start = self._start()
            self.tell(
                f"{_STATUS} {code}",
                "ORM^O01",
                lambda writer: orm.status_message(self.order, code, start, writer),
            )

    def procedures(self, control: str, status: str) -> None:
        """RAD-13 with `control`; RAD-4 for a Study Instance UID this partner has not heard of (PRO-02)."""
        if profile.option(self.endpoint.profile, "procedures") != "yes":
            return
        for procedure in self.order.procedures.select_related("procedure_type").order_by("number"):
            procedure.order = self.order
            purpose = f"{_PROCEDURE} {procedure.pk} "
            known = self.has_been_told(purpose)
            if not known and control in ("CA", "DC"):
                continue  # nothing to take back
            self.tell(
                f"{purpose}{control if known else 'NW'} {status}",
                "ORM^O01",
                self._procedure(procedure, control if known else "NW", status),
            )

    def _procedure(
        self, procedure: RequestedProcedure, control: str, status: str
    ) -> Callable[[Writer], bytes]:
        steps = self._steps(procedure)
        return lambda writer: orm.procedure_message(procedure, steps, control, status, writer)

    def _steps(self, procedure: RequestedProcedure) -> list[ScheduledProcedureStep]:
        """The steps of the newest appointment: the live one, or the one that was cancelled."""
        appointment = Appointment.objects.filter(order=self.order).order_by("-pk").first()
        if appointment is None:
            return []
        return list(appointment.steps.filter(procedure=procedure).order_by("starts_at", "pk"))

    def _start(self) -> datetime | None:
        appointment = Appointment.objects.filter(order=self.order).order_by("-pk").first()
        return appointment.starts_at if appointment else None


def _planned(telling: _Telling) -> None:
    telling.procedures("XO", "SC")
    telling.status("SC")


def _changed(telling: _Telling) -> None:
    """Reason, priority and the like: for those who know the procedure already."""
    if telling.has_been_told(f"{_PROCEDURE} "):
        started = telling.order.status in (OrderStatus.PERFORMED, OrderStatus.REPORTED)
        telling.procedures("XO", "CM" if started else "SC")


def _cancelled(telling: _Telling) -> None:
    telling.procedures("CA", "CA")
    telling.status("CA")


def _discontinued(telling: _Telling) -> None:
    telling.procedures("DC", "CA")
    telling.status("DC")


def _started(telling: _Telling) -> None:
    """IP with the first exam of the order (FIL-06); RAD-4 first for one that was never planned (PRO-05)."""
    if not telling.has_been_told(f"{_PROCEDURE} "):
        telling.procedures("NW", "SC")
    earlier = Exam.objects.filter(
        order=telling.order, pk__lt=telling.event.facts["exam"], status__in=[ExamStatus.IN_PROGRESS, ExamStatus.COMPLETED]
    )  # fmt: skip
    if not earlier.exists():
        telling.status("IP")


def _not_started(telling: _Telling) -> None:
    if Appointment.objects.filter(order=telling.order, status__in=LIVE).exists():
        telling.status("SC")


def _ended(telling: _Telling) -> None:
    """CM once every exam of the order has ended and one was completed; the last one's fact says it (FIL-06)."""
    statuses = set(Exam.objects.filter(order=telling.order).values_list("status", flat=True))
    later = Event.objects.filter(
        subject=telling.order.subject,
        kind__in=["exam.completed", "exam.discontinued"],
        pk__gt=telling.event.pk,
    )
    if ExamStatus.IN_PROGRESS in statuses or ExamStatus.COMPLETED not in statuses or later.exists():
        return
    telling.procedures("XO", "CM")
    telling.status("CM")


_TELLINGS: dict[str, Callable[[_Telling], None]] = {
    "appointment.booked": _planned,
    "appointment.rescheduled": _planned,
    "order.changed": _changed,
    "order.cancelled": _cancelled,
    "order.discontinued": _discontinued,
    "exam.started": _started,
    "exam.start_undone": _not_started,
    "exam.completed": _ended,
    "exam.discontinued": _ended,
}

#: The facts told.
KINDS = tuple(_TELLINGS)
