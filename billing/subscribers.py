"""What the billing hears: an exam completed, a report signed or withdrawn."""

from billing.actions import capture_charge, void_charge
from billing.models import Charge
from billing.states import ChargeStatus, Component
from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.exams.models import Exam


@subscriber("billing.technical", "exam.completed")
def charge_technical(event: Event) -> None:
    capture_charge(
        Exam.objects.get(pk=event.facts["exam"]), Component.TECHNICAL, by=system_user("billing"), at=event.at
    )


@subscriber("billing.professional", "report.signed", "report.withdrawn")
def charge_professional(event: Event) -> None:
    """One subscriber for both facts: the withdrawal cannot overtake the signature."""
    exam, by = Exam.objects.get(pk=event.facts["exam"]), system_user("billing")
    if event.kind == "report.signed":
        capture_charge(exam, Component.PROFESSIONAL, by=by, at=event.at)
        return
    charges = Charge.objects.filter(exam=exam, component=Component.PROFESSIONAL)
    for charge in charges.exclude(status=ChargeStatus.VOIDED):
        void_charge(charge, reason="The report was withdrawn.", by=by)
