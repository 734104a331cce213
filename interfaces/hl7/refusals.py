"""Which case a refused message opens, and which a later one closes: what it is about, as a key."""

import re

from interfaces.cases import NewCase
from interfaces.hl7.ack import Problem
from interfaces.hl7.er7 import Message, Segment
from interfaces.models import CaseKind, Endpoint
from ris.core.errors import RisError

#: The field at fault -> what is not known here.
_UNKNOWN = (
    (re.compile(r"(OBR|ORC)(\[\d+\])?-4\b"), CaseKind.UNKNOWN_EXAM),
    (re.compile(r"(ORC|OBR|TXA|SCH-2[67])"), CaseKind.UNKNOWN_ORDER),
    (re.compile(r"(SCH|ARQ|AI[SGLP])"), CaseKind.UNKNOWN_APPOINTMENT),
    (re.compile(r"PV1(\[\d+\])?-3\b|MSH-[46]"), CaseKind.WRONG_FACILITY),
    (re.compile(r"(PID|MRG|PV1)"), CaseKind.UNKNOWN_PATIENT),
)
_WORDS = {
    CaseKind.UNKNOWN_EXAM: ("an exam", "Match the code in the catalogue, then read the message again."),
    CaseKind.UNKNOWN_ORDER: ("an order", "Match it to the order it means, or read it again once the order has come."),
    CaseKind.UNKNOWN_APPOINTMENT: ("an appointment", "Read it again once it has come, or edit the number in a copy."),
    CaseKind.WRONG_FACILITY: ("a facility", "Add the facility to this partner's settings, then read the message again."),
    CaseKind.UNKNOWN_PATIENT: ("a patient", "Match it to the patient it means, or read it again once the patient has come."),
}  # fmt: skip
#: ORC-1, as a person says it.
_ACTS = {"CA": "cancels", "DC": "discontinues", "XO": "changes", "HD": "holds", "RL": "releases", "SC": "tells the status of",
         "RP": "replaces", "RO": "replaces"}  # fmt: skip

#: The kinds that the arrival of the same thing solves; a group of refusals is looked after by `cases.settle`.
BY_TOPIC = tuple(_WORDS)


def topic(message: Message, type_: str, endpoint: Endpoint) -> str:
    """What the message is about and does, so that the same one under another control id is known again.

    The cancellation of an order and the order itself are two topics. "" when the message is too odd to tell.
    """
    try:
        return "|".join((endpoint.name, type_, *_about(message)))[:160]
    except RisError:
        return ""


def _about(message: Message) -> list[str]:
    orc, sch, obr, mrg = (message.find(name) for name in ("ORC", "SCH", "OBR", "MRG"))
    if orc is not None:
        return [orc.get(1).upper(), _entity(orc, 2) or _entity(orc, 3)]
    if sch is not None:
        return [_entity(sch, 1) or _entity(sch, 2)]
    if obr is not None:
        return [_entity(obr, 2) or _entity(obr, 3)]
    return [_entity(one, field) for one, field in ((message.find("PID"), 3), (mrg, 1)) if one is not None]


def _entity(segment: Segment, field: int) -> str:
    """Number and who gave it."""
    value = segment.first(field)
    return "^".join(value.get(part) for part in (1, 2, 4)).rstrip("^")


def case_of(problem: Problem, message: Message | None, type_: str, endpoint: Endpoint) -> NewCase:
    """The case of a message that was answered with AE."""
    key = topic(message, type_, endpoint) if message is not None else ""
    if problem.code == "204" and message is not None and key:
        for pattern, kind in _UNKNOWN:
            if pattern.match(problem.location):
                what, advice = _WORDS[kind]
                act = _ACTS.get(message.get("ORC-1").upper(), "") if kind == CaseKind.UNKNOWN_ORDER else ""
                does = act or f"sent {type_} for"
                sentence = f"{endpoint.name} {does} {what} that is not known here."
                return NewCase(kind, key, sentence, advice)
    where = f" ({problem.location})" if problem.location else ""
    return NewCase(
        CaseKind.REFUSED,
        "|".join((endpoint.name, type_, problem.code, problem.location)),
        f"{type_} of {endpoint.name} is refused{where}: {problem.text}",
        "Look at the message, then put it right in a copy or at the sender.",
    )
