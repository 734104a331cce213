"""Segments to typed things: names, numbers, people, places. What several message types read alike."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from interfaces import engine
from interfaces.hl7 import codemaps, codes, er7, profile, times
from interfaces.hl7.ack import Header
from interfaces.hl7.er7 import Message, Repetition, Segment
from interfaces.models import CodeTable, Endpoint, InboundMessage
from ris.accounts.models import User
from ris.core.errors import BadValue, MissingData, NotFound, RisError
from ris.core.names import PersonName
from ris.department.actions import know_practitioner
from ris.department.models import Facility, Practitioner
from ris.patients.actions import NewIdentifier, NewPatient, NewVisit, VisitEvent, open_visit, survivor
from ris.patients.models import Patient, PatientIdentifier, Visit


@dataclass(frozen=True, slots=True)
class Context:
    """In whose name, and by whose conventions, a message is read."""

    endpoint: Endpoint
    header: Header
    inbound: InboundMessage | None = None
    #: Whom the message has named so far, by XCN-9 and XCN-1: the same person orders, attends and refers.
    people: dict[tuple[str, str], Practitioner] = field(default_factory=dict)

    @property
    def by(self) -> User:
        return self.endpoint.user

    @property
    def facility(self) -> Facility:
        """The endpoint's facility (profile `facility`), or the first one."""
        code = self.endpoint.option("facility")
        found = (
            Facility.objects.filter(code=code).first() if code else Facility.objects.order_by("pk").first()
        )
        if found is None:
            raise MissingData("No facility is set up for this sender; our administrator must add one.")
        return found

    def option(self, key: str) -> str:
        """The sender's profile, or its default."""
        return profile.option(self.endpoint.profile, key)

    @property
    def zone(self) -> ZoneInfo:
        """Times without an offset are local to the sender."""
        return ZoneInfo(self.endpoint.option("timezone") or settings.RIS_FACILITY_TZ)

    @property
    def authority(self) -> str:
        """Whose numbers those without a PID-3.4 are."""
        return (
            self.endpoint.option("authority")
            or self.header.sending_facility.split("^")[0]
            or self.header.sending_application.split("^")[0]
            or self.facility.assigning_authority
        )[:64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a message was about, for the monitor and the audit trail."""

    patient: Patient | None = None
    accession_number: str = ""
    #: Makes the answer from the header and a control id where it is more than an ACK (ORR, RSP).
    answer: Callable[[Header, str], bytes] | None = None


def required(message: Message, name: str) -> Segment:
    segment = message.find(name)
    if segment is None:
        raise er7.BadSegment(f"The message has no {name} segment.", location=name)
    return segment


#: Where a verb's own names for a value stand in a message.
_PLACES = {
    "family": "PID-5.1",
    "birth_date": "PID-7",
    "sex": "PID-8",
    "side": "OBR-15",
    "priority": "ORC-7.6",
    "procedure_type": "OBR-4",
}


def placed(error: RisError) -> RisError:
    """The same refusal with an HL7 location instead of a form field's name."""
    place = _PLACES.get(error.location, error.location)
    error.location = place if place[:3].isupper() else ""
    return error


# PID


def identifiers(segment: Segment, context: Context, field: int = 3) -> tuple[NewIdentifier, ...]:
    """PID-3, or MRG-1: value, authority and type of each; the endpoint's own authority (profile `authority`) first."""
    found: list[NewIdentifier] = []
    for cx in segment.repetitions(field):
        value = cx.get(1)
        if not value:
            continue
        if len(value) > 64:
            raise BadValue(
                "A patient number is longer than 64 characters.", location=segment.location(field, 1)
            )
        authority = (cx.get(4) or cx.get(4, 2) or context.authority)[:64]
        kind = cx.get(5)[:5] or "MR"
        if (value, authority) not in {(one.value, one.authority) for one in found}:
            found.append(NewIdentifier(value, authority, kind))
    if not found:
        raise MissingData("The patient has no number.", location=segment.location(field))
    primary = context.endpoint.option("authority")
    found.sort(key=lambda one: one.authority != primary if primary else False)
    return tuple(found)


def person_name(names: list[Repetition]) -> PersonName:
    """XPN to a name. Ideographic and phonetic forms come as `=` groups or as repetitions marked I and P."""
    latin: tuple[str, ...] = ()
    ideographic = phonetic = ""
    legal = [name for name in names if name.get(7).upper() in ("", "L", "D", "U")]
    for name in legal or names:
        groups = _groups(name)
        form = name.get(8).upper()
        if form == "I":
            ideographic = ideographic or _pn_group(groups[0])
        elif form == "P":
            phonetic = phonetic or _pn_group(groups[0])
        elif not latin:
            latin = groups[0]
            ideographic = ideographic or (_pn_group(groups[1]) if len(groups) > 1 else "")
            phonetic = phonetic or (_pn_group(groups[2]) if len(groups) > 2 else "")
    family, given, middle, suffix, prefix = (*latin, "", "", "", "", "")[:5]
    if not family and ideographic:
        # Only the ideographic form was sent: it is the name.
        family, _, given = ideographic.partition("^")
    return PersonName(
        family=family[:100], given=given[:100], middle=middle[:100], prefix=prefix[:40], suffix=suffix[:40],
        ideographic=ideographic[:100], phonetic=phonetic[:100],
    )  # fmt: skip


def _groups(name: Repetition) -> list[tuple[str, ...]]:
    """family, given, middle, suffix, prefix of each group; XPN order (FIX-11)."""
    parts = [name] if "=" not in name.raw else [
        name.part(raw) for raw in name.raw.split("=")
    ]  # fmt: skip
    return [tuple(part.get(component) for component in range(1, 6)) for part in parts]


def _pn_group(group: tuple[str, ...]) -> str:
    """A group as DICOM writes it: family^given^middle^prefix^suffix (PS3.5 6.2.1)."""
    family, given, middle, suffix, prefix = (*group, "", "", "", "", "")[:5]
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def new_patient(message: Message, context: Context) -> NewPatient:
    """PID and AL1 to what they say; a field that is not there says nothing, `""` clears."""
    pid = required(message, "PID")
    numbers = identifiers(pid, context)
    names = pid.repetitions(5)
    name = person_name(names) if names else PersonName()
    details: dict[str, Any] = {}
    if names:
        # A part that the sender blanks out (`""`) is cleared; one not sent stays.
        for component, column in ((3, "middle"), (4, "suffix"), (5, "prefix")):
            if names[0].deletes(component):
                details[column] = ""
    birth_date = ""
    born = pid.first(7)
    if born.is_delete:
        details["birth_date"] = ""
    elif born:
        birth_date = times.birth_date(born.get(), context.zone, location=pid.location(7))
    sex = ""
    if pid.first(8).is_delete:
        details["sex"] = ""
    elif pid.first(8).get():
        sex = codes.sex(codemaps.ours(context.endpoint, CodeTable.SEX, pid.get(8)))
    if pid.first(11).is_delete:
        details["address"] = ""
    elif address := _address(pid.first(11)):
        details["address"] = address
    details.update(_phones(pid.repetitions(13)))
    if pid.raw(15):
        details["language"] = "" if pid.first(15).is_delete else (pid.get(15, 2) or pid.get(15))
    if pid.first(29).is_delete or pid.get(30).upper() == "N":
        details["died_on"] = ""
    elif died := times.parse(pid.get(29), context.zone, location=pid.location(29)):
        details["died_on"] = died.partial_date
    if message.all("AL1"):
        details["allergies"] = "; ".join(allergens(message.all("AL1")))
    details.update(_background(message, pid))
    if context.option("vip") == "restrict" and message.get("PV1-16"):
        details["restricted"] = True
    return NewPatient(name=name, identifiers=numbers, birth_date=birth_date, sex=sex or "U", details=details)


def allergens(segments: Iterable[Segment]) -> list[str]:
    """AL1-3 or IAM-3: what the patient does not tolerate, each once."""
    return list(dict.fromkeys(filter(None, (one.get(3, 2) or one.get(3) for one in segments))))


def _background(message: Message, pid: Segment) -> dict[str, Any]:
    """PID-6, PID-9, PID-10, PID-24, NK1 and IN1: kept as they were told; a field that is not there says nothing."""
    found: dict[str, Any] = {}
    aliases = [
        *pid.repetitions(9),
        *(one for one in pid.repetitions(5) if one.get(7).upper() in ("A", "N", "M")),
    ]
    if aliases:
        shown = (" ".join(filter(None, (one.get(2), one.get(1)))) for one in aliases)
        found["aliases"] = "; ".join(dict.fromkeys(filter(None, shown)))
    if pid.raw(6):
        found["mothers_name"] = "" if pid.first(6).is_delete else pid.get(6)
    if pid.raw(10):
        found["race"] = "" if pid.first(10).is_delete else pid.get(10, 2) or pid.get(10)
    if pid.get(24):
        found["multiple_birth"] = pid.get(24).upper() == "Y"
    if contacts := message.all("NK1"):
        found["contacts"] = [
            {
                "name": person_name(one.repetitions(2)).display,
                "relation": one.get(3, 2) or one.get(3),
                "phone": one.get(5),
            }
            for one in contacts
        ]
    if plans := message.all("IN1"):
        found["coverages"] = [
            {
                "plan": one.get(2, 2) or one.get(2),
                "company": one.get(4) or one.get(3),
                "policy": one.get(36),
                "relation": one.get(17, 2) or one.get(17),
            }
            for one in plans
        ]
    return found


def _address(xad: Repetition) -> str:
    place = " ".join(filter(None, (xad.get(4), xad.get(5))))
    return ", ".join(filter(None, (xad.get(1), xad.get(2), xad.get(3), place, xad.get(6))))


def _phones(numbers: list[Repetition]) -> dict[str, str]:
    """PID-13: phone, mobile and e-mail, each the first of its kind."""
    if numbers and numbers[0].is_delete:
        return {"phone": "", "mobile": "", "email": ""}
    found: dict[str, str] = {}
    for xtn in numbers:
        use, kind = xtn.get(2).upper(), xtn.get(3).upper()
        if use == "NET" or kind in ("INTERNET", "X.400"):
            value, column = xtn.get(4) or xtn.get(1), "email"
        else:
            value = xtn.get(1) or xtn.get(12) or "".join(xtn.get(part) for part in (5, 6, 7))
            column = "mobile" if kind == "CP" else "phone"
        if value:
            found.setdefault(column, value)
    return found


def claim(numbers: Sequence[NewIdentifier]) -> None:
    """Let one transaction at a time look up, and so register, the patient of these numbers."""
    engine.serialise([f"{one.authority}\x1f{one.value}" for one in numbers])


def known_patient(message: Message, context: Context) -> Patient | None:
    """The patient that PID-3 names, if any of its numbers is known."""
    pid = message.find("PID")
    if pid is None or not pid.raw(3):
        return None
    numbers = identifiers(pid, context)
    claim(numbers)
    return of_numbers(numbers, context)


def of_numbers(numbers: Sequence[NewIdentifier], context: Context) -> Patient | None:
    """Whom the numbers of PID-3 name. One of a merged record leads to the survivor, or, where the profile says
    `retired_ids` reject, is as good as unknown (204; PIR-04)."""
    found: dict[int, Patient] = {}
    for number in numbers:
        named = record_of(number)
        if named is None:
            continue
        if named.merged_into_id is not None and context.option("retired_ids") == "reject":
            raise NotFound("This patient number was retired by a merge.", location="PID-3")
        patient = survivor(named)
        found[patient.pk] = patient
    if len(found) > 1:
        raise BadValue("The numbers of this message belong to different patients.", location="PID-3")
    return next(iter(found.values()), None)


def record_of(number: NewIdentifier) -> Patient | None:
    """The very record that has the number, be it retired."""
    known = PatientIdentifier.objects.select_related("patient__merged_into").filter(
        value=number.value, authority=number.authority
    )
    return next((one.patient for one in known), None)


# PV1


def visit(
    message: Message, patient: Patient, context: Context, event: VisitEvent = VisitEvent.UPDATED
) -> Visit | None:
    """Open the visit of PV1-19, or of the account (PID-18) where the sender numbers none, and let `event` happen
    to it. What an ADT tells of a visit is as old as the ADT; an order only tells what it knows."""
    pv1, pid = message.find("PV1"), message.find("PID")
    key = visit_key(message, context)
    if pv1 is None or pid is None or key is None:
        return None
    told = told_at(message, context) if context.header.type == "ADT" else None
    number, authority = key
    return open_visit(
        patient,
        NewVisit(
            number=number,
            authority=authority,
            patient_class=codes.patient_class(
                codemaps.ours(context.endpoint, CodeTable.PATIENT_CLASS, pv1.get(2))
            ),
            location=place(pv1.first(3))[:80],
            service=pv1.get(10)[:20],
            account=pid.get(18)[:64],
            patient_type=pv1.get(18)[:20],
            financial_class=pv1.get(20)[:50],
            attending=practitioner(pv1.first(7), context),
            referring=practitioner(pv1.first(8), context),
            admitting=practitioner(pv1.first(17), context),
            pregnancy=pv1.get(15)[:10],
            admitted_at=_lenient(pv1.get(44), context),
            discharged_at=(_lenient(pv1.get(45), context) or told)
            if event == VisitEvent.DISCHARGED
            else None,
        ),
        by=context.by,
        event=event,
        at=told,
    )


def visit_key(message: Message, context: Context) -> tuple[str, str] | None:
    """Number and authority of the visit that the message is about."""
    pv1, pid = message.find("PV1"), message.find("PID")
    if pv1 is None or pid is None:
        return None
    source, number = (pv1.first(19), pv1.get(19)) if pv1.get(19) else (pid.first(18), pid.get(18))
    return (number[:64], (source.get(4) or context.authority)[:64]) if number else None


def place(pl: Repetition) -> str:
    """PL as the sender writes it: point of care^room^bed^facility."""
    return "^".join(pl.get(component) for component in range(1, 5)).rstrip("^") if pl else ""


def practitioner(xcn: Repetition, context: Context) -> Practitioner | None:
    identifier, family, given = xcn.get(1), xcn.get(2), xcn.get(3)
    if not (identifier or family or given):
        return None
    if identifier:
        identifier = codemaps.ours(context.endpoint, CodeTable.PROVIDER, identifier)
    name = PersonName(
        family=family[:100], given=given[:100], middle=xcn.get(4)[:100], suffix=xcn.get(5)[:40],
        prefix=xcn.get(6)[:40],
    )  # fmt: skip
    key = (xcn.get(9)[:64] or context.authority, identifier[:64])
    if not identifier or key not in context.people:
        context.people[key] = know_practitioner(name, identifier=key[1], authority=key[0], by=context.by)
    return context.people[key]


# Times


def _lenient(text: str, context: Context) -> datetime | None:
    """A time nothing depends on: what cannot be read is left out, not a reason to refuse."""
    try:
        return times.moment(text, context.zone, location="")
    except BadValue:
        return None


def told_at(message: Message, context: Context) -> datetime:
    """EVN-2, else MSH-7, else now; never later than now, so that a sender's wrong clock cannot bar later news."""
    told = _lenient(message.get("EVN-2"), context) or _lenient(message.get("MSH-7"), context)
    now = timezone.now()
    return min(told.astimezone(UTC), now) if told else now


def ordered_at(message: Message, orc: Segment, context: Context) -> datetime | None:
    return _lenient(orc.get(9), context) or _lenient(message.get("MSH-7"), context)
