"""The interface contract of one partner: what it may send us, what it gets, field by field, with samples.

Made from the running code: an invented department day is played in a transaction that is taken back, and the
messages that this partner would have been sent are read field by field. The same contract is then held against
what the partner really was sent.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.utils import timezone

from billing.actions import NewFee, set_fee, void_charge
from billing.models import Charge, Fee
from interfaces import engine
from interfaces.hl7 import charsets, er7, names, receiver
from interfaces.hl7 import profile as profiles
from interfaces.hl7.er7 import Message
from interfaces.hl7.inbound import READERS
from interfaces.models import Direction, Endpoint, OutboundMessage
from interfaces.rehearsal import pass_on, taken_back
from ris.accounts.models import Role, User
from ris.audit.trail import record_access
from ris.core.errors import RisError
from ris.core.names import PersonName
from ris.department.actions import know_practitioner, save_record
from ris.department.models import Facility, Modality, ProcedureType, Room
from ris.events.models import Event
from ris.events.outbox import listening
from ris.exams.actions import complete_exam, discontinue_exam, start_exam
from ris.exams.models import Exam
from ris.orders.actions import NewOrder, change_order, place_order
from ris.orders.models import Order
from ris.patients.actions import (
    NewIdentifier,
    NewPatient,
    NewVisit,
    open_visit,
    register_patient,
    update_patient,
)
from ris.patients.models import Patient
from ris.reporting.actions import (
    begin_addendum,
    begin_correction,
    cancel_report,
    make_preliminary,
    open_report,
    save_draft,
    sign_report,
    withdraw_report,
)
from ris.reporting.models import Draft, Report
from ris.reporting.sections import Section
from ris.reporting.states import Finding
from ris.safety.actions import clear_rule
from ris.safety.rules import RULES
from scheduling.actions import (
    book,
    cancel_appointment,
    cancel_order,
    change_appointment,
    check_in,
    mark_no_show,
    reschedule,
)

#: How many of the messages really sent are held against the contract.
CHECKED = 300


@dataclass(frozen=True, slots=True)
class Field:
    """One field that we send: "PID-5". `usage` is "always", or "when known"."""

    location: str
    name: str
    usage: str
    example: str


@dataclass(frozen=True, slots=True)
class SegmentUse:
    """A segment of a conversation; `usage` as for a field."""

    name: str
    usage: str
    repeats: bool
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """All messages of one kind: "ORM^O01 NW" is its name."""

    name: str
    segments: tuple[SegmentUse, ...]
    sample: str


@dataclass(frozen=True, slots=True)
class Contract:
    partner: str
    direction: str
    version: str
    encoding: str
    settings: tuple[tuple[str, str, str], ...]
    code_maps: tuple[tuple[str, str, str], ...]
    #: (message type, what it does here) of what is taken, for a partner that sends.
    taken: tuple[tuple[str, str], ...]
    conversations: tuple[Conversation, ...]
    versions_taken: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def contract_of(endpoint: Endpoint) -> Contract:
    """What we agree on with this partner as it is set up now."""
    inbound = endpoint.direction == Direction.IN
    return Contract(
        partner=endpoint.name, direction=endpoint.get_direction_display(), version=endpoint.hl7_version,
        encoding=endpoint.encoding,
        settings=tuple(
            (key, profiles.option(endpoint.profile, key) or "–", choice.meaning)
            for key, choice in profiles.CHOICES.items()
        ),
        code_maps=tuple(endpoint.code_maps.values_list("table", "theirs", "ours")),
        taken=tuple((kind, _first_sentence(read)) for kind, read in READERS.items()) if inbound else (),
        conversations=() if inbound else tuple(_conversations(_samples(endpoint))),
        versions_taken=tuple(sorted(receiver.VERSIONS)),
    )  # fmt: skip


def _first_sentence(read: Callable[..., object]) -> str:
    text = " ".join((read.__doc__ or "").split())
    return text.split(". ")[0].rstrip(".") + "." if text else ""


# Reading messages


def conversation_of(message: Message) -> str:
    """What a message is about: its type, and the code that tells its purpose."""
    kind = "^".join(part for part in (message.header.get(9), message.header.get(9, 2)) if part)
    purpose = {"ORM": "ORC-1", "OMI": "ORC-1", "OMG": "ORC-1", "ORU": "OBR-25", "DFT": "FT1-6"}.get(
        message.header.get(9), ""
    )
    code = message.get(purpose) if purpose and message.find(purpose[:3]) else ""
    return f"{kind} {code}".strip()


def _conversations(samples: list[bytes]) -> Iterator[Conversation]:
    found: dict[str, list[tuple[Message, bytes]]] = {}
    for raw in samples:
        message = er7.read(raw)
        found.setdefault(conversation_of(message), []).append((message, raw))
    for name, pairs in sorted(found.items()):
        longest = max((raw for _, raw in pairs), key=len)
        yield Conversation(name, tuple(_segment_uses([one for one, _ in pairs])), charsets.decode(longest))


def _segment_uses(messages: list[Message]) -> Iterator[SegmentUse]:
    order: list[str] = []
    for message in messages:
        for segment in message.segments:
            if segment.name not in order:
                order.append(segment.name)
    for name in order:
        having = [message for message in messages if message.find(name)]
        all_of_it = [segment for message in messages for segment in message.all(name)]
        version = messages[0].get("MSH-12")
        fields = []
        for position in range(1, max(len(segment) for segment in all_of_it) + 1):
            filled = [segment.raw(position) for segment in all_of_it if segment.raw(position)]
            if filled:
                usage = "always" if len(filled) == len(all_of_it) else "when known"
                label = names.field_name(name, position, version)
                fields.append(Field(f"{name}-{position}", label, usage, max(filled, key=len)[:120]))
        usage = "always" if len(having) == len(messages) else "when known"
        repeats = any(len(message.all(name)) > 1 for message in messages)
        yield SegmentUse(name, usage, repeats, tuple(fields))


@dataclass(frozen=True, slots=True)
class Breach:
    """A message that was sent and is not as the contract says."""

    message: OutboundMessage
    what: str


def breaches(endpoint: Endpoint, contract: Contract, *, limit: int = CHECKED) -> tuple[int, list[Breach]]:
    """(how many were checked, what differs) of the last messages that the partner was really sent."""
    known = {one.name: one for one in contract.conversations}
    found: list[Breach] = []
    sent = list(
        OutboundMessage.objects.filter(endpoint=endpoint, event__isnull=False).order_by("-pk")[:limit]
    )
    for message in sent:
        try:
            parsed = er7.read(bytes(message.raw))
        except RisError as problem:
            found.append(Breach(message, problem.message))
            continue
        found += [Breach(message, what) for what in departures(parsed, known)]
    return len(sent), found


def departures(message: Message, known: dict[str, Conversation]) -> Iterator[str]:
    """Where a message leaves the contract: an unknown kind, segment or field, or one that is missing."""
    name = conversation_of(message)
    conversation = known.get(name)
    if conversation is None:
        yield f"{name} is not in the contract"
        return
    uses = {one.name: one for one in conversation.segments}
    for use in conversation.segments:
        if use.usage == "always" and not message.find(use.name):
            yield f"{use.name} is always sent, and is missing"
    for segment in message.segments:
        use_of_it = uses.get(segment.name)
        if use_of_it is None:
            yield f"{segment.name} is not in the contract of {name}"
            continue
        fields = {one.location: one for one in use_of_it.fields}
        for position in range(1, len(segment) + 1):
            location = f"{segment.name}-{position}"
            if segment.raw(position) and location not in fields:
                yield f"{location} is not in the contract of {name}"
        for field in use_of_it.fields:
            if field.usage == "always" and not segment.raw(int(field.location.split("-")[1])):
                yield f"{field.location} is always sent in {name}, and is empty"


# An invented day


def _samples(endpoint: Endpoint) -> list[bytes]:
    """Every message that the invented day would have brought this partner."""
    found: list[bytes] = []
    with taken_back(), listening() as facts:
        _Day(endpoint, facts).play()
        ids = [one.pk for one in facts]
        rows = OutboundMessage.objects.filter(endpoint=endpoint, event__in=ids).order_by("pk")
        found += [bytes(one.raw) for one in rows]
    return found


#: (what opens the text, what releases it)
_RELEASED = ((None, make_preliminary),)
_READ = (
    *_RELEASED, (None, sign_report), (begin_addendum, sign_report), (begin_correction, sign_report),
)  # fmt: skip


class _Day:
    """One person who may do everything plays an exam from order to addendum, and what else can happen to one."""

    def __init__(self, endpoint: Endpoint, facts: list[Event]) -> None:
        self._endpoint = endpoint
        self._facts = facts
        self._told = 0
        mark = secrets.token_hex(4)
        roles = [role.value for role in Role if role not in (Role.SYSTEM, Role.REFERRER)]
        self._by = User.objects.create_user(
            f"sample.{mark}", first_name="Sample", last_name="Person", roles=roles
        )
        self._mark = mark.upper()
        facility = Facility.objects.order_by("pk").first()
        self._facility = facility or self._keep(
            Facility(code="SAMPLE", name="Sample Imaging", timezone="UTC", assigning_authority="SAMPLE")
        )
        self._kind = ProcedureType.objects.filter(active=True, laterality="none").order_by("pk").first() or self._keep(
            ProcedureType(code="SAMPLE", name="Sample exam", modality=Modality.CT, duration_minutes=15)
        )  # fmt: skip
        for code in {self._kind.technical_code, self._kind.professional_code} - {""}:
            if not Fee.objects.filter(code=code).exists():
                set_fee(NewFee(code, Decimal(100)), by=self._by)
        self._room = self._keep(
            Room(facility=self._facility, code=f"S{mark}", name="Sample room", modality=self._kind.modality)
        )
        self._doctor = know_practitioner(
            PersonName("Referrer", "Sample", prefix="Dr"), identifier=mark, authority="SAMPLE", by=self._by
        )

    def _keep(self, record: Any) -> Any:
        return save_record(record, by=self._by)

    def step(self, verb: Callable[[], Any]) -> Any:
        """Do it and have the partners told at once, as the relay would; None when the rules do not allow it now."""
        try:
            with transaction.atomic():
                done = verb()
        except (RisError, DatabaseError):
            return None
        pass_on(self._facts, start=self._told)
        self._told = len(self._facts)
        return done

    def play(self) -> None:
        by, start = self._by, timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(days=400)
        for number, full in enumerate((True, False)):
            patient = self._patient(full)
            hour = partial(_hours, start, number * 24)
            self._whole_way(self._order(patient, full, 0), hour)
            planned = self._order(patient, full, 1)
            appointment = self.step(partial(book, planned, room=self._room, start=hour(3), by=by))
            if appointment:
                self.step(partial(cancel_appointment, appointment, reason="Sample reason", by=by))
            self.step(partial(book, planned, room=self._room, start=hour(3), by=by))
            self.step(partial(cancel_order, planned, reason="Sample reason", by=by))
            stopped = self._order(patient, full, 2)
            self.step(partial(book, stopped, room=self._room, start=hour(5), by=by))
            for exam in self._start(stopped):
                self.step(partial(discontinue_exam, exam, code="110500", by=by))
            missed = self.step(
                partial(book, self._order(patient, full, 3), room=self._room, start=hour(7), by=by)
            )
            if missed:
                self.step(partial(change_appointment, missed, note="Sample note", by=by))
                self.step(partial(mark_no_show, missed, by=by, at=hour(8)))
            self.step(partial(update_patient, patient, {"phone": "+1 555 0199"}, by=by))
        self._whole_way(self._order(self._patient(full=False), False, None), partial(_hours, start, 72))

    def _patient(self, full: bool) -> Patient:
        details = (
            {"phone": "+1 555 0100", "mobile": "+1 555 0101", "email": "sample@example.org", "language": "fr",
             "address": "1 Sample Street"}
            if full else {}
        )  # fmt: skip
        name = PersonName(
            "Sample", "Adaeze" if full else "", "B" if full else "", "Dr" if full else "", "", "", ""
        )
        authority = self._facility.assigning_authority
        number = f"S{self._mark}{Patient.objects.count()}"
        new = NewPatient(
            name, (NewIdentifier(number, authority),), "1968-07-14" if full else "", "F", details
        )
        patient: Patient = self.step(partial(register_patient, new, by=self._by))
        if full:
            visit = NewVisit(
                number=number, authority=authority, patient_class="I", location="4E^401^1", account=f"A{number}",
                attending=self._doctor, referring=self._doctor, pregnancy="B6", admitted_at=timezone.now(),
            )  # fmt: skip
            self.step(partial(open_visit, patient, visit, by=self._by))
        return patient

    def _order(self, patient: Patient, full: bool, number: int | None) -> Order:
        """Placed by the EMR under its `number`th number, or here."""
        known: dict[str, Any] = (
            {
                "reason": "Sample reason", "clinical_info": "Sample history", "danger_code": "None",
                "callback_phone": "+1 555 0102", "transport": "WALK", "transport_arranged": "A",
                "placer_group_number": f"G{self._mark}", "visit": patient.visits.first(),
                "entered_at_organization": "4E^4 East^L", "wanted_at": timezone.now() + timedelta(days=2),
            }
            if full else {}
        )  # fmt: skip
        new = NewOrder(
            patient=patient, facility=self._facility, procedure_type=self._kind,
            ordering=None if number is None else self._doctor,
            placer_order_number="" if number is None else f"P{self._mark}{int(full)}{number}",
            placer_authority="" if number is None else "SAMPLE", **known,
        )  # fmt: skip
        order: Order = self.step(partial(place_order, new, by=self._by))
        return order

    def _whole_way(self, order: Order, hour: Callable[[int], datetime]) -> None:
        by = self._by
        appointment = self.step(partial(book, order, room=self._room, start=hour(0), by=by))
        if appointment:
            self.step(partial(reschedule, appointment, room=self._room, start=hour(1), by=by))
            self.step(partial(change_order, order, {"priority": "stat"}, by=by))
            self.step(partial(check_in, appointment, by=by))
        for exam in self._start(order):
            self.step(partial(complete_exam, exam, by=by))
            report = self.step(partial(open_report, exam, by=by))
            if report is not None:
                self._read(report)
                self.step(partial(withdraw_report, report, "entered_in_error", by=by))
            again = self.step(partial(open_report, exam, by=by))
            if again is not None:
                self._read(again, _RELEASED)
                self.step(partial(cancel_report, again, words="Sample reason", by=by))
            self._take_back_charges(exam)

    def _start(self, order: Order) -> list[Exam]:
        """Past whatever stops it: the sample patient may be pregnant, so that the message can say so."""
        for rule in RULES:
            self.step(partial(clear_rule, order, rule, reason="Sample reason", by=self._by))
        return self.step(partial(start_exam, order, by=self._by)) or []

    def _take_back_charges(self, exam: Exam) -> None:
        """Once they have left: what has not is not told at all."""
        told = OutboundMessage.objects.filter(
            endpoint=self._endpoint, event__in=[one.pk for one in self._facts]
        )
        for message in told:
            engine.mark_sent(message)
        for charge in Charge.objects.filter(exam=exam):
            self.step(partial(void_charge, charge, reason="Sample reason", by=self._by))

    def _read(self, report: Report, acts: Sequence[tuple[Any, Any]] = ()) -> None:
        for begin, end in acts or _READ:
            if begin is not None:
                self.step(partial(begin, report, by=self._by))
            report.refresh_from_db()
            draft = Draft.objects.filter(report=report).first()
            if draft is None:
                continue
            texts = [
                Section(code=one["code"], title=one["title"], text=one["text"] or "Sample text.")
                for one in draft.sections
            ]
            save = partial(
                save_draft, report, texts, finding=Finding.DAYS, version=draft.version, by=self._by
            )
            kept = self.step(save)
            if kept is not None:
                self.step(partial(end, report, version=kept.version, by=self._by))


def _hours(start: datetime, offset: int, hours: int) -> datetime:
    return start + timedelta(hours=offset + hours)


def look_up(endpoint: Endpoint, *, by: User) -> tuple[Contract, int, list[Breach]]:
    """The contract, how many sent messages it was held against, and what departs from it; audited."""
    contract = contract_of(endpoint)
    checked, found = breaches(endpoint, contract) if contract.conversations else (0, [])
    record_access(by, "endpoint.contract", subject=f"endpoint:{endpoint.pk}", checked=checked)
    return contract, checked, found
