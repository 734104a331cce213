"""Why a message did not do what it was sent for, in words a person can act on; the technical text comes second."""

import re
from dataclasses import dataclass

from interfaces.hl7 import er7, names
from interfaces.hl7.er7 import Message
from interfaces.hl7.masking import is_private
from interfaces.models import InboundMessage, OutboundMessage
from interfaces.states import InboundState, OutboundState
from ris.core.errors import RisError


@dataclass(frozen=True, slots=True)
class Cause:
    """`words` come first; `detail` is what the other side said; `location` is the field, if one is at fault."""

    words: str
    detail: str = ""
    location: str = ""
    #: What to do about it.
    advice: str = ""


#: Table 0357: what the one who refuses says of the value in the field.
_VERDICTS = {
    "100": "{who} does not take the order of the segments",
    "101": "{who} misses {field}",
    "102": "{who} cannot read {field}{value}",
    "103": "{who} does not know {field}{value}",
    "200": "{who} does not take this type of message",
    "201": "{who} does not take this event",
    "202": "{who} does not take this processing id",
    "203": "{who} does not take this HL7 version",
    "204": "{who} does not know {field}{value}",
    "205": "{who} has {field}{value} already",
    "206": "The record is locked at {who}",
}
_ADVICE = {
    "101": "Fill it in an edited copy, or have the sender fill it.",
    "102": "Put it right in an edited copy.",
    "103": "Add the code at the receiver, or map it for this partner.",
    "204": "Send what it belongs to first, or match it by hand.",
    "205": "Nothing is lost if the receiver has it; discard this one.",
}
#: What people call the fields that go wrong most; else the standard's name is used.
_CALLED = {
    "PID-3": "the patient", "PID-5": "the patient's name", "PID-7": "the birth date", "PID-8": "the sex",
    "MRG-1": "the patient to merge", "PV1-2": "the patient class", "PV1-3": "the ward",
    "PV1-7": "the attending doctor", "PV1-8": "the referring doctor", "PV1-19": "the visit",
    "ORC-1": "the order control", "ORC-2": "the order", "ORC-3": "the order", "ORC-12": "the ordering doctor",
    "ORC-7": "the priority", "OBR-2": "the order", "OBR-3": "the order", "OBR-4": "the exam",
    "OBR-16": "the ordering doctor", "OBR-24": "the modality", "SCH-1": "the appointment",
    "SCH-2": "the appointment", "MSH-3": "the sender", "MSH-18": "the character set",
}  # fmt: skip


def of(message: InboundMessage | OutboundMessage) -> Cause | None:
    return of_inbound(message) if isinstance(message, InboundMessage) else of_outbound(message)


def of_inbound(message: InboundMessage) -> Cause | None:
    """None for a message that was applied or waits its turn."""
    if message.status == InboundState.FAILED:
        return Cause(
            "We could not process it: a fault of ours",
            message.error_text,
            advice="Read it again; if it fails again, tell your support.",
        )
    if message.status != InboundState.REJECTED:
        return None
    return _verdict(
        "This department", message.error_code, message.error_location, message.error_text, bytes(message.raw)
    )


def of_outbound(message: OutboundMessage) -> Cause | None:
    """None for a message that was accepted, or waits without trouble."""
    partner = message.endpoint.name
    if message.status == OutboundState.REJECTED or (message.error_class == "refused" and message.error_text):
        code, location, text = refusal_of(bytes(message.answer or b""))
        return _verdict(partner, code, location, text or message.error_text, bytes(message.raw))
    if message.status == OutboundState.ACCEPTED or message.status == OutboundState.DISCARDED:
        return None
    if message.error_class == "no_answer":
        return Cause(
            f"{partner} took the message but did not answer", message.error_text,
            advice="Ask there whether it arrived; release it to send it again."
            if message.status == OutboundState.HELD else "It is sent again by itself.",
        )  # fmt: skip
    if message.endpoint.down_since is not None:
        return Cause(
            f"{partner} cannot be reached",
            message.endpoint.last_error,
            advice="It is sent by itself as soon as the line is up.",
        )
    return None


def refusal_of(answer: bytes) -> tuple[str, str, str]:
    """(code of table 0357, location, text) of a negative answer; blanks for what it does not say."""
    try:
        message = er7.read(answer)
    except RisError:
        return "", "", ""
    err = message.find("ERR")
    text = message.get("MSA-3")
    if err is None:
        return "", "", text
    text = err.get(8) or err.get(7) or text or err.get(3, 2)
    if err.get(3):
        return err.get(3), _place([err.get(2, part) for part in (1, 2, 3, 5)]), text
    return err.get(1, 4, 1), _place([*(err.get(1, part) for part in (1, 2, 3)), ""]), text or err.get(1, 4, 2)


def _place(parts: list[str]) -> str:
    segment, number, field, component = parts
    if not re.fullmatch(r"[A-Z][A-Z0-9]{2}", segment):
        return ""
    found = f"{segment}[{number}]" if number.isdigit() and int(number) > 1 else segment
    if field.isdigit():
        found += f"-{field}"
        if component.isdigit() and int(component) > 1:
            found += f".{component}"
    return found


def _verdict(who: str, code: str, location: str, text: str, raw: bytes) -> Cause:
    pattern = _VERDICTS.get(code)
    if pattern is None:
        return Cause(
            f"{who} refused it: {text}" if text else f"{who} refused it without saying why", location=location
        )
    value = _value_at(raw, location)
    words = pattern.format(who=who, field=_called(location), value=f" {value}" if value else "")
    return Cause(words, text, location, _ADVICE.get(code, ""))


def _called(location: str) -> str:
    if not location:
        return "a value"
    plain = re.sub(r"\[\d+\]", "", location)
    field, _, _ = plain.partition(".")
    known = _CALLED.get(field)
    if known:
        return known
    segment, _, number = field.partition("-")
    name = names.field_name(segment, int(number)) if number.isdigit() else f"the {segment} segment"
    return name[:1].lower() + name[1:] if name else location


def _value_at(raw: bytes, location: str) -> str:
    """What stands there, unless it tells who the patient is."""
    found = re.fullmatch(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?-(\d+)(?:\.(\d+))?.*", location)
    if found is None or is_private(location):
        return ""
    try:
        message: Message = er7.read(raw)
        segments = message.all(found[1])
        value = segments[int(found[2] or 1) - 1].get(int(found[3]), int(found[4] or 1))
    except (RisError, IndexError):
        return ""
    return value[:60]
