"""Sequence numbers in MSH-13 (HL7 2.5.1 2.10.1), for partners whose profile asks for them."""

import re

from interfaces import engine
from interfaces.cases import NewCase, open_case
from interfaces.hl7 import profile
from interfaces.hl7.ack import Header, OutOfSequence
from interfaces.models import CaseKind, Endpoint, InboundMessage, OutboundMessage
from ris.core.errors import BadValue

# Out


def number(message: OutboundMessage, endpoint: Endpoint) -> None:
    """Give a message its number when it is first sent, so that one discarded before leaves no gap.

    In the transaction that claims it; every further attempt sends the same number.
    """
    position = 13
    raw = message.raw
    end = raw.find(b"\r")
    fields = raw[:end].split(b"|")
    fields += [b""] * (position - len(fields))
    if fields[position - 1]:
        return
    fields[position - 1] = b"%d" % engine.next_number_out(endpoint)
    engine.keep_bytes(message, b"|".join(fields) + raw[end:])


# In


def is_bare(header: Header, endpoint: Endpoint) -> bool:
    """The sender starts its link (0), or has us forget its numbers (-1): a header without a message."""
    return header.sequence in ("0", "-1") and _is_on(endpoint)


def refuse_gap(header: Header, endpoint: Endpoint, last: int | None) -> None:
    """Raises OutOfSequence for messages missing that the sender can still send."""
    given = _number(header, endpoint)
    if given is None or given <= 0 or last is None or given in (last, last + 1):
        return
    if abs(given - last - 1) <= int(profile.option(endpoint.profile, "sequence_gap")):
        raise OutOfSequence(
            f"Number {last + 1} is expected here, not {given}; send the messages from there on.",
            expected=last + 1,
        )


def take(header: Header, endpoint: Endpoint, message: InboundMessage) -> int | None:
    """Take a message's number; returns what MSA-4 is to say, the number expected next (None: nothing).

    The partner's row stays locked, so that two connections cannot take numbers at once; the number is kept
    with the message's outcome. A gap too wide to be filled is a case for a person. Raises OutOfSequence.
    """
    given = _number(header, endpoint)
    if given is None:
        return None
    last = Endpoint.objects.select_for_update().values_list("last_sequence_in", flat=True).get(pk=endpoint.pk)
    if given == 0:
        return -1 if last is None else last + 1
    refuse_gap(header, endpoint, last)
    engine.keep_number_in(endpoint, given if given > 0 else None)
    if given < 0:
        return -1
    if last is not None and given not in (last, last + 1):
        open_case(
            NewCase(
                CaseKind.OUT_OF_SEQUENCE, f"sequence:{endpoint.pk}",
                f"{endpoint.name} sent number {given} where {last + 1} was expected.",
                "Ask the sender for the messages between, or dismiss this when it has started its numbers anew.",
            ),
            endpoint=endpoint, inbound=message,
        )  # fmt: skip
    return given + 1


def _is_on(endpoint: Endpoint) -> bool:
    return profile.option(endpoint.profile, "sequence") == "yes"


def _number(header: Header, endpoint: Endpoint) -> int | None:
    if not header.sequence or not _is_on(endpoint):
        return None
    if not re.fullmatch(r"-1|\d{1,15}", header.sequence, re.ASCII):
        raise BadValue("This is no sequence number.", location="MSH-13")
    return int(header.sequence)
