"""What one order of a message says: ORC with the OBR, TQ1, NTE, OBX, DG1 and IPC that follow it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation

from interfaces.cases import NewCase, open_case
from interfaces.hl7 import codemaps, codes, profile, times
from interfaces.hl7.er7 import BadSegment, Message, Repetition, Segment
from interfaces.hl7.reading import Context
from interfaces.models import CaseKind, CodeTable
from ris.core.errors import NotFound
from ris.core.names import fold
from ris.department.models import Facility
from ris.orders.models import Answer, Diagnosis, Side


@dataclass(slots=True)
class Group:
    """One ORC with what follows it: one order."""

    orc: Segment
    obr: Segment | None = None
    tq1: Segment | None = None
    ipc: Segment | None = None
    notes: list[str] = field(default_factory=list)
    questions: list[Segment] = field(default_factory=list)
    diagnoses: list[Segment] = field(default_factory=list)

    @property
    def control(self) -> str:
        return self.orc.get(1).upper()

    @property
    def reason_given(self) -> str:
        """ORC-16, why something is done to the order."""
        return self.orc.get(16, 2) or self.orc.get(16)


#: Earlier results that an OMG shows along with its order (ORC-1, table 0119).
_PRIOR = "PR"


def groups(message: Message) -> list[Group]:
    """The ORC/OBR pairs in order. Raises BadSegment for an OBR that no ORC announces."""
    found: list[Group] = []
    # Weight, height and diagnoses before the first order are of the patient, so of every order.
    questions: list[Segment] = []
    diagnoses: list[Segment] = []
    for segment in message.segments:
        current = found[-1] if found else None
        match segment.name:
            case "ORC":
                found.append(Group(segment))
            case "OBR":
                if current is None or current.obr is not None:
                    raise BadSegment(
                        "Each OBR needs an ORC of its own before it.", location=segment.location(1)
                    )
                current.obr = segment
            case "TQ1" if current and current.tq1 is None:
                current.tq1 = segment
            case "IPC" if current and current.ipc is None:
                current.ipc = segment
            case "NTE" if current:
                current.notes.extend(one.text() for one in segment.repetitions(3) if one)
            case "OBX":
                (current.questions if current else questions).append(segment)
            case "DG1":
                (current.diagnoses if current else diagnoses).append(segment)
    found = [group for group in found if group.control != _PRIOR]
    if not found:
        raise BadSegment("The message has no ORC segment.", location="ORC")
    for group in found:
        group.questions[:0], group.diagnoses[:0] = questions, diagnoses
    return found


# Numbers


def entity(segment: Segment, position: int) -> tuple[str, str]:
    """EI as (number, namespace as received): components 2 to 4, joined by "^"."""
    ei = segment.first(position)
    namespace = "^".join(ei.get(component) for component in (2, 3, 4)).rstrip("^")
    return ei.get(1), namespace[:120]


def placer_number(group: Group) -> tuple[str, str]:
    number, authority = entity(group.orc, 2)
    if not number and group.obr is not None:
        number, authority = entity(group.obr, 2)
    return number, authority


def filler_number(group: Group) -> str:
    return group.orc.get(3) or (group.obr.get(3) if group.obr is not None else "")


def parent_numbers(group: Group) -> tuple[str, str, str]:
    """ORC-8 or OBR-29 (EIP): the parent's placer number, its namespace, and its filler number."""
    parent = group.orc.first(8) or (group.obr.first(29) if group.obr is not None else group.orc.first(8))
    namespace = "^".join(parent.get(1, sub) for sub in (2, 3, 4)).rstrip("^")
    return parent.get(1), namespace[:120], parent.get(2)


def coded(segment: Segment, position: int) -> str:
    """CE or EI with its components, to be sent back as it came."""
    value = segment.first(position)
    return "^".join(value.get(component) for component in range(1, 7)).rstrip("^") if value else ""


def exam(group: Group) -> tuple[str, str, str]:
    """Code, text and scheme of OBR-4, else of the protocol in IPC-6."""
    assert group.obr is not None
    asked = group.obr.first(4) or (group.ipc.first(6) if group.ipc is not None else group.obr.first(4))
    code = asked.get(1) or asked.get(2)
    return code[:64], (asked.get(2) or asked.get(1))[:200], asked.get(3)[:64]


def modality(group: Group, context: Context) -> str:
    """IPC-5, or OBR-24 in the sender's or table 0074's words, as DICOM calls it (FIX-9)."""
    sent = (group.ipc.get(5) if group.ipc is not None else "") or (group.obr.get(24) if group.obr else "")
    return codes.modality(codemaps.ours(context.endpoint, CodeTable.MODALITY, sent))


# When and how urgent


def timing(group: Group, context: Context) -> tuple[datetime | None, str]:
    """Wanted start and priority: TQ1 (2.5 on), else ORC-7, else OBR-27, and OBR-5 of the oldest senders.

    A priority nobody told is "".
    """
    wanted: datetime | None = None
    priority, where = "", group.orc.location(7, 6)
    for segment, start, start_part, urgency, urgency_part in _timing_places(group):
        text = segment.get(start, start_part) if start else ""
        if wanted is None and text:
            part = start_part if start_part > 1 else 0
            wanted = times.moment(text, context.zone, location=segment.location(start, part))
        if not priority and segment.get(urgency, urgency_part):
            priority = segment.get(urgency, urgency_part)
            where = segment.location(urgency, urgency_part if urgency_part > 1 else 0)
    if not priority:
        return wanted, ""
    word = codemaps.ours(context.endpoint, CodeTable.PRIORITY, priority)
    return wanted, codes.priority(word, location=where)


def _timing_places(group: Group) -> Iterator[tuple[Segment, int, int, int, int]]:
    if group.tq1 is not None:
        yield group.tq1, 7, 1, 9, 1
    yield group.orc, 7, 4, 7, 6
    if group.obr is not None:
        yield group.obr, 27, 4, 27, 6
        yield group.obr, 0, 0, 5, 1


# What is asked and why


def side(group: Group) -> Side:
    """OBR-15.5 site modifier, a modifier LT, RT, 50 in OBR-44 or OBR-45, or the answer to a question for it."""
    assert group.obr is not None
    modifiers = [one.get(1) for position in (45, 44) for one in group.obr.repetitions(position)]
    asked = [
        value
        for question in group.questions
        if _SIDE_WORDS & set(fold(_words(question.first(3))).split())
        for value in (question.get(5, 1), question.get(5, 2))
    ]
    return codes.side(group.obr.get(15, 5), *modifiers, *asked)


_SIDE_WORDS = {"LATERALITY", "SIDE"}


def _words(code: Repetition) -> str:
    return f"{code.get(1)} {code.get(2)}"


def reason(group: Group) -> str:
    assert group.obr is not None
    reasons = [one.get(2) or one.get(1) for one in group.obr.repetitions(31)]
    return "; ".join(filter(None, reasons)) or group.reason_given


def clinical_info(group: Group) -> str:
    assert group.obr is not None
    lines = [one.text() for one in group.obr.repetitions(13)]
    return "\n".join(filter(None, [*lines, *group.notes]))


def danger(group: Group) -> str:
    assert group.obr is not None
    return group.obr.get(12, 2) or group.obr.get(12)


def diagnoses(group: Group) -> tuple[Diagnosis, ...]:
    """DG1-3, DG1-4, and reasons that OBR-31 gives with a code."""
    found = [
        Diagnosis(code=one.get(3)[:40], text=(one.get(3, 2) or one.get(4))[:200], scheme=one.get(3, 3)[:40])
        for one in group.diagnoses
    ]
    for one in group.obr.repetitions(31) if group.obr is not None else []:
        if one.get(1) and one.get(2):
            found.append(Diagnosis(code=one.get(1)[:40], text=one.get(2)[:200], scheme=one.get(3)[:40]))
    kept = {(one["code"], one["text"]): one for one in found if one["code"] or one["text"]}
    return tuple(kept.values())


#: OBX-11 of values that do not count: deleted, wrong, not obtained.
_VOID = {"D", "W", "X"}


def answers(group: Group) -> tuple[Answer, ...]:
    """The answers to the placer's questions (OBX after OBR), without weight and height."""
    return tuple(
        Answer(
            code=one.get(3)[:60],
            question=(one.get(3, 2) or one.get(3))[:200],
            value=_value(one)[:1000],
            units=(one.get(6, 2) or one.get(6))[:40],
        )
        for one in group.questions
        if one.get(11).upper() not in _VOID and one.raw(5) and _measure(one) is None
    )


def _value(obx: Segment) -> str:
    if obx.get(2).upper() in {"CE", "CWE", "CNE", "CF"}:
        values = [one.get(2) or one.get(1) for one in obx.repetitions(5)]
    else:
        values = [one.text() for one in obx.repetitions(5)]
    return "; ".join(filter(None, values))


#: LOINC, and the words senders use; what kg and m make of their units (UCUM and everyday).
_WEIGHT, _HEIGHT = {"29463-7", "3141-9", "3142-7"}, {"8302-2", "3137-7", "8306-3"}
_KILOGRAMS = {"KG": 1, "G": 0.001, "LB": 0.45359237, "LBS": 0.45359237, "LB AV": 0.45359237, "OZ": 0.0283495}
_METRES = {"M": 1, "CM": 0.01, "MM": 0.001, "IN": 0.0254, "IN I": 0.0254, "IN US": 0.0254, "FT": 0.3048}


def _measure(obx: Segment) -> tuple[str, Decimal] | None:
    """("weight_kg" or "height_m", the value) when that is what the OBX tells (OTH-C)."""
    words = fold(_words(obx.first(3)))
    if obx.get(3) in _WEIGHT or words in _NAMES_OF_WEIGHT:
        column, factors, limit, digits = "weight_kg", _KILOGRAMS, 1000, "0.1"
    elif obx.get(3) in _HEIGHT or words in _NAMES_OF_HEIGHT:
        column, factors, limit, digits = "height_m", _METRES, 3, "0.01"
    else:
        return None
    factor = factors.get(fold(obx.get(6)))
    try:
        value = Decimal(obx.get(5)) * Decimal(str(factor or 0))
    except InvalidOperation:
        return None
    return (column, value.quantize(Decimal(digits))) if 0 < value < limit else None


_NAMES_OF_WEIGHT = {"BODY WEIGHT", "WEIGHT", "PATIENT WEIGHT", "WEIGHT BODY WEIGHT", "WT"}
_NAMES_OF_HEIGHT = {"BODY HEIGHT", "HEIGHT", "PATIENT HEIGHT", "HEIGHT BODY HEIGHT", "HT", "BODY LENGTH"}


def measures(group: Group) -> dict[str, Decimal]:
    return dict(filter(None, map(_measure, group.questions)))


# For which site


class WrongFacility(NotFound):
    """The order is for a department that is none of ours."""


def facility(group: Group, context: Context) -> Facility:
    """The site the order is for: by the sender's department map (ORC-17, ORC-13, MSH-6), else by MSH-6 being a
    site's own code, else the sender's own. Raises WrongFacility when the profile wants it."""
    endpoint, receiving = context.endpoint, context.header.receiving_facility.split("^")[0]
    named = [value for value in (group.orc.get(17), group.orc.get(13), receiving) if value]
    for value in named:
        mapped = codemaps.ours(endpoint, CodeTable.DEPARTMENT, value)
        if mapped != value or value == receiving:
            found = Facility.objects.filter(code=mapped).first()
            if found is not None:
                return found
    if named and codemaps.has(endpoint, CodeTable.DEPARTMENT):
        words = f"{named[0][:40]} is not in the department map of {endpoint.name}."
        if profile.option(endpoint.profile, "unknown_facility") == "refuse":
            raise WrongFacility(words, location="MSH-6" if named == [receiving] else group.orc.location(17))
        open_case(
            NewCase(
                CaseKind.WRONG_FACILITY, f"facility:{endpoint.name}|{named[0]}", words,
                f"Taken for {context.facility.name}; add the department to the code map.",
            ),
            endpoint=endpoint, inbound=context.inbound,
        )  # fmt: skip
    return context.facility
