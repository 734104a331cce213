"""What it means for the record that a partner has accepted a message."""

from interfaces.hl7 import profile
from interfaces.models import OutboundMessage
from ris.events.outbox import record


def accepted(message: OutboundMessage, code: str) -> None:
    """Make it a fact where something depends on it; call it in the transaction that notes the answer.

    Whoever hears of it works in the relay, so no line waits for a record that somebody has locked. A commit
    (CA) is an acceptance where the partner's application will not say more.
    """
    if code == "CA" and profile.option(message.endpoint.profile, "acks") == "enhanced":
        return
    if code in ("AA", "CA") and message.type.startswith("DFT"):
        record(
            "charge.accepted", message.key, by=message.endpoint.user, patient=message.patient_id,
            message=message.pk,
        )  # fmt: skip
