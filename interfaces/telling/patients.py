"""Patients: RAD-12 onward to those who file under them. Profile `patients` yes, with the group orders.

A partner that is itself the source of the news must not hear them again, so nobody does unless the profile says so.
"""

from collections.abc import Callable
from functools import partial

from interfaces import engine
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.hl7.outbound import adt
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import Endpoint
from interfaces.telling import orders
from interfaces.telling.base import concerns, order_of
from ris.audit.trail import record_access, working_for
from ris.events.models import Event
from ris.orders.models import Order
from ris.patients.models import Merge, Patient, PatientClass, Visit
from ris.patients.states import VisitStatus


def tell(event: Event) -> None:
    for endpoint in engine.subscribers("orders"):
        if profile.option(endpoint.profile, "patients") == "yes":
            _TELLINGS[event.kind](_Telling(endpoint, event))


class _Telling:
    """One fact of a patient, on its way to one partner; in the order of the patient's other facts."""

    def __init__(self, endpoint: Endpoint, event: Event) -> None:
        self.endpoint = endpoint
        self.event = event

    def send(self, trigger: str, patient: Patient, render: Callable[[Writer], bytes]) -> None:
        message = engine.enqueue(
            NewMessage(
                endpoint=self.endpoint,
                event=self.event,
                purpose=f"patient {trigger} {patient.pk}",
                type=f"ADT^{trigger}",
                key=self.event.subject,
                render=lambda control_id: render(Writer(self.endpoint, control_id, self.event.at)),
                patient_id=patient.pk,
            )
        )
        if message is not None:
            with working_for(self.endpoint.name):
                record_access(
                    self.endpoint.user, "message.sent", patient=patient.pk, subject=self.event.subject,
                    message=message.pk,
                )  # fmt: skip

    def details(self, patient: Patient) -> None:
        """A08 with the visit the patient has, else A31. Of a record merged meanwhile the merge tells."""
        if patient.merged_into_id is not None:
            return
        visit = newest_visit(patient)
        trigger = "A08" if visit is not None else "A31"
        self.send(trigger, patient, partial(adt.patient_message, trigger, patient, visit))


def _patient(pk: int) -> Patient:
    return Patient.objects.prefetch_related("identifiers").get(pk=pk)


def newest_visit(patient: Patient, *, with_account: bool = False) -> Visit | None:
    """The one that stands, else the last one that did."""
    known = Visit.objects.select_related("attending", "referring", "admitting").filter(patient=patient)
    if with_account:
        known = known.exclude(account="")
    visits = list(known.exclude(status=VisitStatus.CANCELLED).order_by("-pk"))
    return next((one for one in visits if one.status == VisitStatus.ACTIVE), visits[0] if visits else None)


def _updated(telling: _Telling) -> None:
    event = telling.event
    # One A08 changes the patient and the visit: the visit's fact, which follows, says all of it.
    same = Event.objects.filter(subject=event.subject, pk__gt=event.pk, kind="visit.updated")
    if not same.exists():
        telling.details(_patient(event.facts["patient"]))


def _merged(telling: _Telling) -> None:
    survivor, retired = (_patient(telling.event.facts[who]) for who in ("patient", "retired"))
    # PID-18 is required of A40.
    visit = newest_visit(survivor, with_account=True) or newest_visit(survivor)
    telling.send("A40", survivor, partial(adt.merge_message, survivor, retired, visit))


def _unmerged(telling: _Telling) -> None:
    """HL7 has no word for it: both are told anew, then for each procedure that went back whose it is."""
    for who in ("patient", "retired"):
        telling.details(_patient(telling.event.facts[who]))
    moved = Merge.objects.get(pk=telling.event.facts["merge"]).moved
    _procedures(telling, moved.get(Order._meta.label, []))


def _moved(telling: _Telling) -> None:
    """A visit and its orders are now another patient's."""
    telling.details(_patient(telling.event.facts["patient"]))
    _procedures(telling, telling.event.facts["moved"].get(Order._meta.label, []))


def _procedures(telling: _Telling, ids: list[int]) -> None:
    for pk in ids:
        order = order_of(pk)
        if concerns(telling.endpoint, order):
            orders.tell_changed(telling.endpoint, telling.event, order)


def _visit(telling: _Telling) -> None:
    """A02, A03, A06, A07, A08, A11, A12, A13, A38: as it came to us."""
    event = telling.event
    visit = Visit.objects.select_related("attending", "referring", "admitting").get(pk=event.facts["visit"])
    trigger = _TRIGGERS[event.kind]
    if event.kind == "visit.class_changed" and visit.patient_class != PatientClass.INPATIENT:
        trigger = "A07"
    if event.kind == "visit.cancelled" and event.facts["was"] == VisitStatus.PREADMIT:
        trigger = "A38"
    patient = _patient(visit.patient_id)
    telling.send(trigger, patient, partial(adt.patient_message, trigger, patient, visit))


_TRIGGERS = {
    "visit.updated": "A08",
    "visit.rekeyed": "A08",
    "visit.transferred": "A02",
    "visit.transfer_cancelled": "A12",
    "visit.class_changed": "A06",
    "visit.discharged": "A03",
    "visit.discharge_cancelled": "A13",
    "visit.cancelled": "A11",
}
_TELLINGS: dict[str, Callable[[_Telling], None]] = {
    "patient.updated": _updated,
    "patient.merged": _merged,
    "patient.unmerged": _unmerged,
    "visit.moved": _moved,
    **dict.fromkeys(_TRIGGERS, _visit),
}

#: The facts told.
KINDS = tuple(_TELLINGS)
