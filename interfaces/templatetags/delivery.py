"""What became of a report outside, for the pages of apps below this one."""

from collections.abc import Iterable
from dataclasses import dataclass

from django import template
from django.db.models import Q

from interfaces.models import OutboundMessage
from interfaces.states import OutboundState
from ris.exams.models import Exam

register = template.Library()

_RESULTS = (
    Q(type__startswith="ORU")
    | Q(type__startswith="MDM")
    | Q(type__startswith="C-STORE")
    | Q(type__startswith="STOW-RS")
)
_STUCK = (OutboundState.REJECTED, OutboundState.HELD)


@dataclass(frozen=True)
class Recipient:
    """How the results of some exams stand with one partner: by the message that waits longest, else the last one."""

    message: OutboundMessage

    @property
    def name(self) -> str:
        return self.message.endpoint.name

    @property
    def stuck(self) -> bool:
        """A person has to look; what follows it in the line waits."""
        return self.message.status in _STUCK

    @property
    def word(self) -> str:
        if self.stuck:
            return "Not delivered"
        return "Delivered" if self.message.status == OutboundState.ACCEPTED else "On its way"


@register.simple_tag
def recipients(exams: Iterable[Exam]) -> list[Recipient]:
    """Who gets the results of `exams` and how far each has come (DEL-02, DEL-03)."""
    numbers = {exam.order.accession_number for exam in exams}
    found: dict[int, OutboundMessage] = {}
    messages = (
        OutboundMessage.objects.filter(_RESULTS, accession_number__in=numbers)
        .exclude(status=OutboundState.DISCARDED)
        .select_related("endpoint")
        .order_by("pk")
    )
    for message in messages:
        known = found.get(message.endpoint_id)
        if known is None or known.status == OutboundState.ACCEPTED:
            found[message.endpoint_id] = message
    return sorted(map(Recipient, found.values()), key=lambda one: one.name)


@register.simple_tag
def undelivered_results() -> int:
    """Results that a partner refused or that are held for a person."""
    return OutboundMessage.objects.filter(_RESULTS, status__in=_STUCK).count()
