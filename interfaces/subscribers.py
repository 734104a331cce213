"""The facts that partners are told of. Runs in the relay, in its transaction.

One fact may have been overtaken by the next when it is told; what it says (ORC-1, ORC-5, OBR-25) is always
the fact's own, and the rest the record as it now stands.
"""

from interfaces import solving as solving
from interfaces.hl7.held import apply_waiting_merges
from interfaces.models import Case, CaseKind, CaseStatus
from interfaces.telling import charges, objects, orders, patients, results, schedule
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.patients.models import Patient

#: In this order a fact that several groups hear of is told.
_GROUPS = (patients, orders, schedule, results, charges)


@subscriber("interfaces.hl7", *(kind for group in _GROUPS for kind in group.KINDS))
def tell(event: Event) -> None:
    """One subscriber for all of an order's facts: a second one could overtake it with a result."""
    for group in _GROUPS:
        if event.kind in group.KINDS:
            group.tell(event)


@subscriber("interfaces.archive", *objects.KINDS)
def tell_archive(event: Event) -> None:
    """Objects go to others than messages do, so they need not wait for each other."""
    objects.tell(event)


@subscriber("interfaces.objects", "exam.started", "performed_step.matched", "images.matched")
def find_place(event: Event) -> None:
    """An exam has begun or a step has found its order: objects that came for it may have their place now."""
    if Case.objects.filter(kind=CaseKind.UNKNOWN_OBJECT, status=CaseStatus.OPEN).exists():
        from interfaces.dicom.store import take_again

        take_again(event.subject)


@subscriber(
    "interfaces.waiting_merges",
    *("patient.registered", "patient.renumbered", "appointment.cancelled", "appointment.rescheduled"),
)
def merge(event: Event) -> None:
    """Somebody became known, or their time became free: what waits for them may be merged now."""
    apply_waiting_merges(Patient.objects.get(pk=event.facts["patient"]))
