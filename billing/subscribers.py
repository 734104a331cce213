"""What the billing hears: an exam completed, a report signed or withdrawn."""

from billing.actions import capture_charge, capture_supply, void_charge
from billing.models import Charge
from billing.states import ChargeStatus, Component
from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.exams.models import Administration, Exam


@subscriber("billing.technical", "exam.completed", "exam.reopened", "order.procedure_changed")
def charge_technical(event: Event) -> None:
    """A completed exam is charged; another exam done than was charged is charged anew under its own code."""
    by = system_user("billing")
    if event.kind == "exam.completed":
        capture_charge(_exam(event), Component.TECHNICAL, by=by, at=event.at)
        return
    if event.kind == "exam.reopened":
        for charge in _charged(Component.TECHNICAL, exam=event.facts["exam"]):
            void_charge(charge, reason="The exam goes on.", by=by)
        return
    for charge in _charged(Component.TECHNICAL, procedure=event.facts["procedure"]):
        void_charge(charge, reason="Another exam was done.", by=by)
        capture_charge(charge.exam, Component.TECHNICAL, by=by, modifiers=charge.modifiers, at=event.at)


@subscriber("billing.professional", "report.signed", "report.withdrawn")
def charge_professional(event: Event) -> None:
    """A signed report is charged; what was charged for one that is withdrawn is taken back."""
    by = system_user("billing")
    if event.kind == "report.signed":
        capture_charge(_exam(event), Component.PROFESSIONAL, by=by, at=event.at)
        return
    for charge in _charged(Component.PROFESSIONAL, exam=event.facts["exam"]):
        void_charge(charge, reason="The report was withdrawn.", by=by)


@subscriber("billing.supplies", "exam.administered", "exam.administration_withdrawn")
def charge_supplies(event: Event) -> None:
    """What was used up is charged; the charge of an entry that was a mistake is taken back."""
    by = system_user("billing")
    given = Administration.objects.select_related("exam__order", "exam__procedure", "lot__item").get(
        pk=event.facts["administration"]
    )
    if event.kind == "exam.administered":
        capture_supply(given, by=by, at=event.at)
        return
    for charge in _charged(Component.SUPPLY, administration=given.pk):
        void_charge(charge, reason="The entry was withdrawn.", by=by)


def _exam(event: Event) -> Exam:
    return Exam.objects.get(pk=event.facts["exam"])


def _charged(component: Component, **of: int) -> list[Charge]:
    rows = Charge.objects.select_related("exam__order").exclude(status=ChargeStatus.VOIDED)
    return list(rows.filter(component=component, **of))
