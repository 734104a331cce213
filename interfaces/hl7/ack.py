"""Acknowledgements: AA/AE/AR and CA/CE/CR, with the ERR segment of the sender's version (HL7 2.5.1 2.9, 2.15.5)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from interfaces.hl7 import er7
from interfaces.hl7.er7 import BadSegment, Message, Segment, Separators, Unreadable
from ris.core.errors import BadValue, Duplicate, MissingData, NotFound, RisError

#: Table 0357. The texts are the table's, in ERR-3.2 and ERR-1.4.2.
CODES = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


class Unsupported(RisError):
    """The header asks for what this receiver does not do: AR, whatever the message says."""

    def __init__(self, message: str, *, hl7_code: str, location: str) -> None:
        super().__init__(message, location=location)
        self.hl7_code = hl7_code


class OutOfSequence(RisError):
    """Messages before this one are missing, and the sender is to send them first (MSH-13): AE for now."""

    code = "out_of_sequence"

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message, location="MSH-13")
        self.expected = expected


class NotInTable(BadValue):
    """A coded value that the table, and the endpoint's map, do not have (103)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message was not accepted, in HL7's words and in a person's."""

    ack_code: str
    code: str
    location: str
    text: str
    #: The sequence number we wait for (MSA-4).
    expected: int | None = None

    @property
    def commit_code(self) -> str:
        """MSA-1 of a refused commit (2.9.3.2): CR for a header we do not take, CE for what may be taken later."""
        return "CR" if self.ack_code == "AR" else "CE"


def problem_of(error: RisError) -> Problem:
    """Which answer a refusal deserves (conformance 2.1)."""
    match error:
        case Unsupported():
            return Problem("AR", error.hl7_code, error.location, error.message)
        case Unreadable():
            return Problem("AR", "100", error.location or "MSH", error.message)
        case OutOfSequence():
            return Problem("AE", "207", error.location, error.message, error.expected)
        case BadSegment():
            code = "100"
        case NotInTable():
            code = "103"
        case BadValue():
            code = "102"
        case MissingData():
            code = "101"
        case Duplicate():
            code = "205"
        case NotFound():
            code = "204"
        case _:
            code = "207"
    return Problem("AE", code, error.location, error.message)


INTERNAL_ERROR = Problem(
    "AE", "207", "", "The message was kept, but could not be processed; our staff see it."
)


@dataclass(frozen=True, slots=True)
class Header:
    """What an answer echoes of MSH, and what dispatch and storage need. Read even from a broken message."""

    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    type: str = ""
    trigger: str = ""
    control_id: str = ""
    processing_id: str = ""
    version: str = ""
    sequence: str = ""
    accept_ack: str = ""
    application_ack: str = ""

    @property
    def kind(self) -> str:
        return f"{self.type}^{self.trigger}" if self.trigger else self.type

    @property
    def enhanced(self) -> bool:
        """MSH-15 or MSH-16 asks for an answer (2.9.3)."""
        return bool({self.accept_ack, self.application_ack} & {"AL", "ER", "SU"})

    @property
    def wants_none(self) -> bool:
        """NE in both. By default it is answered all the same: over MLLP most senders that hear nothing send again."""
        return self.accept_ack == self.application_ack == "NE"


_CONDITIONS = {"AL", "NE", "ER", "SU"}


def wants(condition: str, *, accepted: bool) -> bool:
    """Whether MSH-15 or MSH-16 asks for an answer with this outcome (table 0155)."""
    return condition == "AL" or condition == ("SU" if accepted else "ER")


def header_of(raw: bytes, message: Message | None) -> Header:
    """The header as far as it can be read; `message` is None when the bytes are no message."""
    if message is not None:
        msh = message.header
        evn = message.find("EVN")
    else:
        line = er7.header_line(raw)
        try:
            separators = er7.separators_of(line)
        except Unreadable:
            if line[:4] not in ("MSH|", "BHS|", "FHS|"):
                return Header()
            separators = Separators()
        if line[:3] in ("BHS", "FHS"):
            return _header_of_batch(Segment(line, separators, 1))
        msh, evn = Segment(line, separators, 1), None

    def said(field: int, component: int = 1) -> str:
        # No store and no line takes a NUL, and no name holds another control character.
        return er7.printable(msh.get(field, component))

    try:
        trigger = said(9, 2)
        if not trigger and evn is not None:
            # Before 2.3 the event stood in EVN-1 only.
            trigger = er7.printable(evn.get(1))
        accept, application = said(15).upper(), said(16).upper()
        return Header(
            sending_application=msh.restated(3)[:250],
            sending_facility=msh.restated(4)[:250],
            receiving_application=msh.restated(5)[:250],
            receiving_facility=msh.restated(6)[:250],
            type=said(9)[:20].upper(),
            trigger=trigger[:20].upper(),
            control_id=said(10)[:200],
            processing_id=said(11)[:10].upper(),
            version=said(12)[:20],
            sequence=said(13)[:20],
            accept_ack=accept if accept in _CONDITIONS else "",
            application_ack=application if application in _CONDITIONS else "",
        )
    except BadValue:
        return Header()


def version_of(header: Header) -> str:
    """The version to answer in: the message's own, when it is one."""
    return header.version if re.fullmatch(r"2\.[1-9](\.[0-9])?", header.version) else "2.3.1"


def answer_header(
    header: Header, kind: tuple[str, str, str], *, control_id: str, at: datetime | None = None, body: str = ""
) -> str:
    """MSH of an answer: sender and receiver change places; `kind` is MSH-9, its structure from 2.5 on.

    `body` is what follows, to see whether its letters need their set named.
    """
    version = version_of(header)
    modern = version >= "2.5"
    names = (
        body,
        header.receiving_application,
        header.receiving_facility,
        header.sending_application,
        header.sending_facility,
    )
    return er7.header(
        {
            3: er7.Raw(header.receiving_application or "LIGHTBOX"),
            4: er7.Raw(header.receiving_facility),
            5: er7.Raw(header.sending_application),
            6: er7.Raw(header.sending_facility),
            7: (at or datetime.now(UTC)).strftime("%Y%m%d%H%M%S+0000" if modern else "%Y%m%d%H%M%S"),
            9: kind if modern else kind[:2],
            10: control_id,
            11: header.processing_id or "P",
            12: version,
            18: "" if all(name.isascii() for name in names) else "UNICODE UTF-8",
        }
    )


def _header_of_batch(first: Segment) -> Header:
    """BHS and FHS name sender and receiver where MSH does; their own control id stands in 11 (2.15.2)."""
    try:
        return Header(
            sending_application=first.restated(3)[:250],
            sending_facility=first.restated(4)[:250],
            receiving_application=first.restated(5)[:250],
            receiving_facility=first.restated(6)[:250],
            type=first.name,
            control_id=first.get(11)[:200],
        )
    except BadValue:
        return Header()


def as_message(answer: bytes, control_id: str) -> bytes:
    """An answer that goes out as a message of its own: its own number, and a commit asked for (2.9.3.1)."""
    end = answer.index(b"\r")
    fields = answer[:end].split(b"|")
    fields += [b""] * (16 - len(fields))
    fields[9], fields[14], fields[15] = control_id.encode(), b"AL", b"NE"
    return b"|".join(fields) + answer[end:]


def build(
    header: Header, code: str, *, control_id: str, problem: Problem | None = None, at: datetime | None = None,
    expected: int | None = None,
) -> bytes:  # fmt: skip
    """An ACK to the message `header` came from. `code` is MSA-1, `expected` MSA-4: the next sequence number."""
    if problem and problem.expected is not None:
        expected = problem.expected
    msh = answer_header(header, ("ACK", header.trigger, "ACK"), control_id=control_id, at=at)
    modern = version_of(header) >= "2.5"
    text = problem.text if problem else ""
    if problem and problem.location:
        text = f"{problem.location}: {text}"
    # MSA-3 holds 80 characters; the whole text stands in ERR-8 where the version has one.
    number = "" if expected is None else str(expected)
    msa = er7.segment("MSA", {1: code, 2: header.control_id, 3: text[:80], 4: number})
    segments = [msh, msa]
    if problem:
        segments.append(_err(problem, text, modern=modern))
    return er7.write(segments)


_LOCATION = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+))?(?:\.(\d+))?(?:\.(\d+))?")


def _err(problem: Problem, text: str, *, modern: bool) -> str:
    match = _LOCATION.fullmatch(problem.location)
    segment, index, field, component, sub = match.groups() if match else ("", None, None, None, None)
    sequence = (index or "1") if segment else ""
    label = CODES[problem.code]
    if modern:
        # ERL: segment, its sequence, field, repetition, component, subcomponent.
        place = [segment, sequence, field or "", "1" if component else "", component or "", sub or ""]
        return er7.segment("ERR", {2: place, 3: [problem.code, label, "HL70357"], 4: "E", 8: text[:250]})
    # Before 2.5, ERR-1 alone: segment, sequence, field, and a CE as subcomponents.
    return er7.segment("ERR", {1: [segment, sequence, field or "", [problem.code, label, "HL70357"]]})
