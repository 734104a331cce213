"""What it means for the record that a partner has accepted a message."""

from interfaces.models import OutboundMessage
from ris.events.outbox import record


def accepted(message: OutboundMessage) -> None:
    """Make it a fact where something depends on it; call it in the transaction that notes the answer.

    Whoever hears of it works in the relay, so no line waits for a record that somebody has locked.
    """
    if message.type.startswith("DFT"):
        record(
            "charge.accepted", message.key, by=message.endpoint.user, patient=message.patient_id,
            message=message.pk,
        )  # fmt: skip
