"""What may happen to a message on its way in and on its way out."""

from django.db import models

from ris.core.flow import Flow


class InboundState(models.TextChoices):
    RECEIVED = "received", "Received"  # stored, not yet applied
    PROCESSED = "processed", "Processed"  # applied: MSA-1 AA
    REJECTED = "rejected", "Rejected"  # refused with a reason: AE, AR
    FAILED = "failed", "Failed"  # our own error: AE 207


_IN = InboundState
#: A person may have a refused message read again; an applied one never.
INBOUND_FLOW = Flow(
    {
        _IN.RECEIVED: frozenset({_IN.PROCESSED, _IN.REJECTED, _IN.FAILED}),
        _IN.REJECTED: frozenset({_IN.RECEIVED}),
        _IN.FAILED: frozenset({_IN.RECEIVED}),
        _IN.PROCESSED: frozenset(),
    }
)

#: A message in one of these waits for us or for a person.
IN_OPEN = (_IN.RECEIVED, _IN.REJECTED, _IN.FAILED)


class OutboundState(models.TextChoices):
    QUEUED = "queued", "Queued"
    SENT = "sent", "Sent, no answer yet"
    ACCEPTED = "accepted", "Accepted"  # AA, CA
    REJECTED = "rejected", "Refused by the receiver"  # AE, AR, CE, CR: waits for a person
    HELD = "held", "Held"  # by a person, or sent without an answer where a repeat could do harm
    DISCARDED = "discarded", "Discarded"  # by a person, with a reason


_OUT = OutboundState
#: `sent` and back to `queued` is a resend: the same bytes under the same control id.
OUTBOUND_FLOW = Flow(
    {
        _OUT.QUEUED: frozenset({_OUT.SENT, _OUT.HELD, _OUT.DISCARDED}),
        _OUT.SENT: frozenset({_OUT.QUEUED, _OUT.ACCEPTED, _OUT.REJECTED, _OUT.HELD}),
        _OUT.REJECTED: frozenset({_OUT.QUEUED, _OUT.DISCARDED}),
        _OUT.HELD: frozenset({_OUT.QUEUED, _OUT.DISCARDED}),
        # Taken over (CA), then refused by the application behind it.
        _OUT.ACCEPTED: frozenset({_OUT.QUEUED, _OUT.REJECTED}),
        _OUT.DISCARDED: frozenset(),
    }
)

#: A message in one of these holds back the later ones of its key.
OPEN = (_OUT.QUEUED, _OUT.SENT, _OUT.REJECTED, _OUT.HELD)
