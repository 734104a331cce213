"""What the billing hears: an exam completed, a report signed."""

from billing.actions import capture_charge
from billing.states import Component
from ris.accounts.models import system_user
from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.exams.models import Exam


@subscriber("billing.technical", "exam.completed")
def charge_technical(event: Event) -> None:
    capture_charge(
        Exam.objects.get(pk=event.facts["exam"]), Component.TECHNICAL, by=system_user("billing"), at=event.at
    )


@subscriber("billing.professional", "report.signed")
def charge_professional(event: Event) -> None:
    capture_charge(
        Exam.objects.get(pk=event.facts["exam"]),
        Component.PROFESSIONAL,
        by=system_user("billing"),
        at=event.at,
    )
