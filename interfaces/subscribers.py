"""Which fact becomes which message for which partner. Runs in the relay, in its transaction.

One fact may have been overtaken by the next when it is told; what it says (ORC-1, ORC-5, OBR-25) is always
the fact's own, and the rest the record as it now stands.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from interfaces import engine
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.hl7.outbound import orm, oru
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import Endpoint, OutboundMessage
from ris.audit.trail import record_access, working_for
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.reporting.models import ReportPart
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.states import LIVE

#: Purposes begin with these; `_has_been_told` looks for them.
_PROCEDURE, _STATUS, _RESULT = "procedure", "status", "result"


@subscriber(
    "interfaces.hl7", "appointment.booked", "appointment.rescheduled", "order.changed", "order.cancelled",
    "order.discontinued", "exam.started", "exam.start_undone", "exam.completed", "exam.discontinued",
    "report.preliminary", "report.signed", "report.addended", "report.corrected",
)  # fmt: skip
def tell(event: Event) -> None:
    """One subscriber for all of an order's facts: a second one could overtake it with a result."""
    order = _order(event.facts["order"])
    if event.kind in _TELLINGS:
        for endpoint in engine.subscribers("orders"):
            if _concerns(endpoint, order):
                _TELLINGS[event.kind](_Telling(endpoint, event, order))
    else:
        _tell_of_report(event, order)


def _tell_of_report(event: Event, order: Order) -> None:
    """ORU: P, F, and C with the full text."""
    exam = Exam.objects.select_related("procedure__procedure_type", "technologist__practitioner").get(
        pk=event.facts["exam"]
    )
    exam.order = order
    part = ReportPart.objects.select_related("report", "author__practitioner", "signed_by__practitioner").get(
        pk=event.facts["part"]
    )
    for endpoint in engine.subscribers("results"):
        if _concerns(endpoint, order):
            pdf = _pdf(part) if profile.option(endpoint.profile, "pdf") == "yes" else None
            render = partial(oru.result_message, exam, part, pdf)
            _Telling(endpoint, event, order).tell(f"{_RESULT} {exam.pk}", "ORU^R01", render)


def _pdf(part: ReportPart) -> bytes:
    from ris.reporting.documents import pdf_for

    return pdf_for(part)


def _order(pk: int) -> Order:
    return (
        Order.objects.select_related(
            "patient", "facility", "ordering", "entered_by", "visit__attending", "visit__referring"
        )
        .prefetch_related("patient__identifiers")
        .get(pk=pk)
    )


def _concerns(endpoint: Endpoint, order: Order) -> bool:
    only = profile.option(endpoint.profile, "order_only")
    return not only or order.source == only


class _Telling:
    """One fact, on its way to one partner."""

    def __init__(self, endpoint: Endpoint, event: Event, order: Order) -> None:
        self.endpoint = endpoint
        self.event = event
        self.order = order

    def tell(self, purpose: str, type_: str, render: Callable[[Writer], bytes]) -> None:
        message = engine.enqueue(
            NewMessage(
                endpoint=self.endpoint,
                event=self.event,
                purpose=purpose,
                type=type_,
                key=self.order.subject,
                render=lambda control_id: render(Writer(self.endpoint, control_id, self.event.at)),
                patient_id=self.order.patient_id,
                accession_number=self.order.accession_number,
            )
        )
        if message is not None:
            with working_for(self.endpoint.name):
                record_access(
                    self.endpoint.user, "message.sent", patient=self.order.patient_id,
                    subject=self.order.subject, message=message.pk,
                )  # fmt: skip

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

    def has_been_told(self, purpose: str) -> bool:
        return OutboundMessage.objects.filter(
            endpoint=self.endpoint, key=self.order.subject, purpose__startswith=purpose
        ).exists()


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
