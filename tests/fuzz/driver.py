"""Takes a message the way the listener does, without its database, and says what went wrong."""

import time
import traceback

import django

django.setup()

from zoneinfo import ZoneInfo  # noqa: E402

from interfaces.hl7 import ack, batches, er7, reading, receiver, times  # noqa: E402
from interfaces.hl7.inbound import reader_for  # noqa: E402
from interfaces.models import Endpoint  # noqa: E402
from ris.core.errors import RisError  # noqa: E402

#: Seconds of the processor's own time; a busy machine does not count.
LIMIT = 1.0
_CODES = {"AA", "AE", "AR"}
_PARTNER = Endpoint(name="anybody", profile={"processing": "PTD"})


def wrong_with(raw: bytes, *, every_field: bool = True) -> str:
    """ "" when the message was read or refused as it should be; else what happened."""
    begun = time.thread_time()
    try:
        header, problem, answer = _answer(raw, every_field)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {where.name}, line {where.lineno}"
    if (spent := time.thread_time() - begun) > LIMIT:
        return f"took {spent:.1f} s of processor time"
    try:
        told = er7.read(answer)
    except RisError as error:
        return f"the answer cannot be read: {error.message}"
    if told.get("MSA-1") not in _CODES or (told.get("MSA-1") == "AA") != (problem is None):
        return f"answered {told.get('MSA-1')!r} to {problem}"
    if problem is not None and told.find("ERR") is None:
        return "refused without ERR"
    if told.get("MSA-2") != header.control_id.strip():
        return f"the answer names {told.get('MSA-2')!r}, not {header.control_id!r}"
    if len(told.segments) != 2 + (problem is not None):
        return f"the answer has {len(told.segments)} segments"
    if b"\x1c" in answer or b"\x0b" in answer:
        return "the answer holds a block character"
    return ""


def _answer(raw: bytes, every_field: bool) -> tuple[ack.Header, ack.Problem | None, bytes]:
    header = ack.header_of(raw, None)
    problem: ack.Problem | None = None
    try:
        if batches.is_batch(raw):
            batches.read(raw)
        receiver.check_header(header, _PARTNER, raw, oversize=False)
        message = er7.read(raw, _PARTNER.encoding)
        header = ack.header_of(raw, message)
        reader_for(header.type, header.trigger)
        message.check_shape()
        if every_field:
            _read_everything(message)
    except RisError as error:
        problem = ack.problem_of(reading.placed(error))
    code = problem.ack_code if problem else "AA"
    return header, problem, ack.build(header, code, control_id="F1", problem=problem)


def _read_everything(message: er7.Message) -> None:
    """Every field of every segment in each of the ways the readers ask for them. Raises RisError."""
    for segment in message.segments:
        for position in range(1, len(segment) + 1):
            for one in segment.repetitions(position):
                one.get(), one.get(4, 2), one.text(), one.parts()
            if segment.name == "PID" and position in (7, 29):
                times.parse(segment.get(position), ZoneInfo("UTC"), location=segment.location(position))
    pid = message.find("PID")
    if pid is not None:
        reading.person_name(pid.repetitions(5))
    evn = message.get("EVN-2")
    if evn:
        times.parse(evn, ZoneInfo("UTC"), location="EVN-2")
