"""Orders and procedures: RAD-3 to the placer, RAD-4 and RAD-13 to image and report managers."""

from collections.abc import Callable

from interfaces import engine
from interfaces.hl7 import profile
from interfaces.hl7.outbound import omi, orm, parts
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import Endpoint
from interfaces.telling.base import Telling, concerns, order_of
from ris.events.models import Event
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.states import LIVE

#: Purposes begin with these; `has_been_told` looks for them.
_PROCEDURE, _STATUS, NEW = "procedure", "status", "new order"


def tell(event: Event) -> None:
    partners = [one for one in engine.subscribers("orders") if _listens(one, event.kind)]
    if not partners:
        return
    order = order_of(event.facts.get("order") or Exam.objects.get(pk=event.facts["exam"]).order_id)
    for endpoint in partners:
        if concerns(endpoint, order):
            _TELLINGS[event.kind](_Telling(endpoint, event, order))


def tell_changed(endpoint: Endpoint, event: Event, order: Order) -> None:
    """RAD-13 because of a fact that is not the order's own: it is another patient's now."""
    _changed(_Telling(endpoint, event, order))


def _listens(endpoint: Endpoint, kind: str) -> bool:
    """Most facts that only some partners ask for need no look at their order."""
    if kind == "order.placed":
        return profile.option(endpoint.profile, "filler_orders") == "yes"
    return kind not in _FOR_MORE or profile.option(endpoint.profile, "statuses") == "more"


class _Telling(Telling):
    def option(self, key: str) -> str:
        return profile.option(self.endpoint.profile, key)

    def to_placer(
        self, purpose: str, control: str, status: str = "", *, modifier: str = "", result_status: str = ""
    ) -> None:
        """RAD-3: ORC-1 `control` with ORC-5 `status`."""
        start = orm.start_of(self.order)
        kind = "OMG^O19" if self.option("orders_as") == "omg" else "ORM^O01"

        def render(writer: Writer) -> bytes:
            word = parts.status(modifier.lower(), writer) if modifier else ""
            told = word if word != modifier.lower() else parts.status(status, writer)
            return orm.placer_message(
                self.order, control, told, start, writer, modifier=modifier, result_status=result_status
            )

        self.tell(purpose, kind, render)

    def status(self, code: str) -> None:
        """ORC-1 SC to the placer."""
        if self.option("statuses") != "no":
            self.to_placer(f"{_STATUS} {code}", "SC", code)

    def more(self, word: str, code: str, result_status: str) -> None:
        """What table 0038 has no code for, in ORC-25 and OBR-25, for a partner that asks for it (FIL-08). Its
        code map may give the word an ORC-5 of its own."""
        if self.option("statuses") == "more":
            self.to_placer(
                f"{_STATUS} {code} {word}", "SC", code, modifier=word.upper(), result_status=result_status
            )

    def procedures(self, control: str, status: str) -> None:
        """RAD-13 with `control`; RAD-4 for a Study Instance UID this partner has not heard of (PRO-02)."""
        form = self.option("procedures")
        if form == "no":
            return
        for procedure in self.order.procedures.select_related("procedure_type").order_by("number"):
            procedure.order = self.order
            purpose = f"{_PROCEDURE} {procedure.pk} "
            known = self.has_been_told(purpose)
            if not known and control in ("CA", "DC"):
                continue  # nothing to take back
            self.tell(
                f"{purpose}{control if known else 'NW'} {status}",
                "OMI^O23" if form == "omi" else "ORM^O01",
                self._procedure(procedure, control if known else "NW", status, form),
            )

    def _procedure(
        self, procedure: RequestedProcedure, control: str, status: str, form: str
    ) -> Callable[[Writer], bytes]:
        steps = self._steps(procedure)
        if form == "omi":
            return lambda writer: omi.procedure_message(
                procedure, steps, control, status, omi.writer_for(writer)
            )
        return lambda writer: orm.procedure_message(procedure, steps, control, status, writer)

    def _steps(self, procedure: RequestedProcedure) -> list[ScheduledProcedureStep]:
        """The steps of the newest appointment: the live one, or the one that was cancelled."""
        appointment = Appointment.objects.filter(order=self.order).order_by("-pk").first()
        if appointment is None:
            return []
        return list(
            appointment.steps.select_related("appointment__room__facility", "appointment__performer")
            .filter(procedure=procedure)
            .order_by("starts_at", "pk")
        )

    @property
    def here(self) -> bool:
        """A person of the department did it, not the placer's message."""
        return not self.event.by.is_system


def _placed(telling: _Telling) -> None:
    """SN for what has no placer number: a walk-in, or what radiology put in the place of another order (FIL-01)."""
    if not telling.order.placer_order_number and telling.option("filler_orders") == "yes":
        telling.to_placer(NEW, "SN")


def _planned(telling: _Telling) -> None:
    telling.procedures("XO", "SC")
    telling.status("SC")


def _changed(telling: _Telling) -> None:
    """Reason, priority and the like: for those who know the procedure already."""
    if telling.has_been_told(f"{_PROCEDURE} "):
        telling.procedures("XO", _standing(telling.order))


def _planned_for(telling: _Telling) -> None:
    """Another performer (OBR-34): for the image manager; the rest of an appointment's change is SIU's."""
    if "performer" in telling.event.facts.get("changed", ()):
        _changed(telling)


def _standing(order: Order) -> str:
    return "CM" if order.status in (OrderStatus.PERFORMED, OrderStatus.REPORTED) else "SC"


def _other_exam(telling: _Telling) -> None:
    """Another exam was done than asked: XO with its code to the images (PRO-08), XX to the placer (FIL-09)."""
    telling.procedures("XO", _standing(telling.order))
    if telling.option("statuses") != "no":
        telling.to_placer(f"{_STATUS} XX", "XX", "CM" if _standing(telling.order) == "CM" else "IP")


def _cancelled(telling: _Telling) -> None:
    """To the placer as status, or as OC when radiology did it (FIL-04): always before a replacement, so that
    SN finds the old order gone (SCN-06)."""
    replaced = Order.objects.filter(replaces=telling.order).exists()
    if telling.here and (
        telling.option("cancels") == "oc" or (replaced and telling.option("filler_orders") == "yes")
    ):
        telling.to_placer("cancel", "OC", "CA")
        telling.procedures("CA", "CA")
    else:
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
        telling.more("begun", "IP", "I")


def _not_started(telling: _Telling) -> None:
    if Appointment.objects.filter(order=telling.order, status__in=LIVE).exists():
        telling.status("SC")


def _goes_on(telling: _Telling) -> None:
    """An end that was taken back: in progress again, for the placer and for those who hold the images."""
    telling.procedures("XO", "IP")
    telling.status("IP")


def _ended(telling: _Telling) -> None:
    """CM once every exam of the order has ended and one was completed; the last one's fact says it (FIL-06)."""
    if telling.event.kind == "exam.completed":
        telling.more("ended", "IP", "I")
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
    "order.placed": _placed,
    "order.changed": _changed,
    "order.procedure_changed": _other_exam,
    "order.study_taken": _changed,
    "order.cancelled": _cancelled,
    "order.discontinued": _discontinued,
    "order.comes_back": _not_started,
    "appointment.booked": _planned,
    "appointment.rescheduled": _planned,
    "appointment.changed": _planned_for,
    "patient.arrived": lambda telling: telling.more("arrived", "SC", "S"),
    "exam.started": _started,
    "exam.start_undone": _not_started,
    "exam.completed": _ended,
    "exam.reopened": _goes_on,
    "exam.discontinued": _ended,
    "report.opened": lambda telling: telling.more("dictated", "CM", "R"),
    "report.preliminary": lambda telling: telling.more("prelim", "CM", "P"),
    "report.signed": lambda telling: telling.more("final", "CM", "F"),
}

_FOR_MORE = {"patient.arrived", "report.opened", "report.preliminary", "report.signed"}

#: The facts told.
KINDS = tuple(_TELLINGS)
