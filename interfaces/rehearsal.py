"""What a message would do, without doing it: applied by the real code in a transaction that is never committed.

The test bench shows it for one message; before a partner's profile or code maps are changed, its last
messages are tried both ways and what would come out differently is shown.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connection, transaction

from interfaces import actions, engine
from interfaces.engine import Arrival
from interfaces.hl7 import ack, charsets, er7, receiver
from interfaces.models import Case, Direction, Endpoint, InboundMessage, OutboundMessage
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound, RisError
from ris.core.identifiers import new_control_id
from ris.events.models import Event
from ris.events.outbox import listening, reactions
from ris.orders.models import RequestedProcedure
from ris.patients.models import Patient

#: How many of a partner's messages are tried both ways before a change.
REPLAYED = 25
#: A rehearsal must not hold up the department.
_LIMITS = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'"
_MOST_FACTS = 200


class _TakeBack(Exception):
    """Ends a rehearsal: nothing of it stays."""


@contextmanager
def taken_back() -> Iterator[None]:
    """Whatever is written inside is rolled back at its end; nothing is sent, no worker is woken."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_LIMITS)
            yield
            raise _TakeBack
    except _TakeBack:
        pass


@dataclass(frozen=True, slots=True)
class Effect:
    """One fact that would become true. `changes` are (field, now, then) of a patient's details."""

    kind: str
    words: str
    subject: str
    changes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A message that would go to a partner because of it."""

    partner: str
    type: str
    purpose: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The answer a message would get, and everything that would follow."""

    ack_code: str
    ack: bytes
    error_code: str = ""
    error_location: str = ""
    error_text: str = ""
    effects: tuple[Effect, ...] = ()
    told: tuple[Told, ...] = ()
    #: (kind, sentence) of each case it would open.
    cases: tuple[tuple[str, str], ...] = ()
    #: What would go wrong after the answer, when partners are told.
    trouble: tuple[str, ...] = ()

    @property
    def outcome(self) -> tuple[str, ...]:
        """What two rehearsals of one message are compared by: numbers that are new each time are left out."""
        refusal = " ".join(part for part in (self.error_code, self.error_location, self.error_text) if part)
        return (
            self.ack_code + (f": {refusal}" if refusal else ""),
            *(one.words for one in self.effects),
            *(f"{kind}: {sentence}" for kind, sentence in self.cases),
            *(f"{one.partner} would be sent {one.type}" for one in self.told),
        )


def rehearse(raw: bytes, endpoint: Endpoint, *, by: User) -> Rehearsal:
    """Every effect that `raw` would have if `endpoint` sent it now; audited as a rehearsal."""
    require(by, "message.reveal")
    found = _run(raw, endpoint)
    record_access(by, "message.rehearsed", subject=f"endpoint:{endpoint.pk}", endpoint=endpoint.pk)
    return found


def _run(raw: bytes, endpoint: Endpoint, change: Callable[[], object] = lambda: None) -> Rehearsal:
    """One rehearsal, after `change` was made in the same transaction."""
    draft: Rehearsal | None = None
    with taken_back(), listening() as facts:
        change()
        facts.clear()
        header = ack.header_of(raw, None)
        # Under a sender of its own: a message we have already is not taken for a repeat.
        message, _ = engine.store(
            Arrival(
                raw=raw, endpoint=endpoint, peer="rehearsal", control_id=header.control_id, type=header.kind,
                sender=f"rehearsal {new_control_id()}",
            )
        )  # fmt: skip
        message = receiver.apply(message.pk)
        # A refused message was taken back with what it had recorded until then.
        true = set(Event.objects.filter(pk__in=[one.pk for one in facts]).values_list("pk", flat=True))
        facts[:] = [one for one in facts if one.pk in true]
        trouble = pass_on(facts)
        told = OutboundMessage.objects.filter(event__in=[one.pk for one in facts]).select_related("endpoint")
        draft = Rehearsal(
            ack_code=message.ack_code, ack=bytes(message.ack or b""), error_code=message.error_code,
            error_location=message.error_location, error_text=message.error_text,
            effects=tuple(Effect(one.kind, _words(one), one.subject, _after(one)) for one in facts),
            told=tuple(Told(one.endpoint.name, one.type, one.purpose, bytes(one.raw)) for one in told.order_by("pk")),
            cases=tuple((one.get_kind_display(), one.sentence) for one in Case.objects.filter(inbound=message)),
            trouble=tuple(trouble),
        )  # fmt: skip
    assert draft is not None, "the block above ends with a draft or an error"
    return _with_before(draft)


def pass_on(facts: list[Event], *, start: int = 0) -> list[str]:
    """Hand each fact from the `start`th on to everybody who reacts to it, as the relay would; reactions may
    record further facts. Returns what went wrong."""
    trouble = []
    for event in _growing(facts, start):
        for reaction in reactions(event.kind):
            try:
                with transaction.atomic():
                    reaction(event)
            except (RisError, DatabaseError) as problem:
                trouble.append(f"{event.kind}: {problem}")
    return trouble


def _growing(facts: list[Event], at: int) -> Iterator[Event]:
    last = at + _MOST_FACTS
    while at < min(len(facts), last):
        yield facts[at]
        at += 1


_VERBS = {
    "patient.registered": "A new patient is registered",
    "patient.updated": "The patient's details change",
    "patient.merged": "Two patient records become one",
    "patient.unmerged": "A merge is taken back",
    "visit.opened": "A visit begins",
    "order.placed": "An order is placed",
    "order.changed": "The order changes",
    "order.held": "The order is put on hold",
    "order.released": "The order is released",
    "order.cancelled": "The order is cancelled",
    "order.discontinued": "The order is discontinued",
    "order.procedure_mapped": "The exam of the order is named",
    "appointment.booked": "An appointment is booked",
    "appointment.rescheduled": "The appointment moves",
    "appointment.cancelled": "The appointment is cancelled",
    "patient.arrived": "The patient is checked in",
    "patient.no_show": "The patient did not come",
    "charge.captured": "A charge is captured",
    "charge.voided": "A charge is voided",
}


def _words(event: Event) -> str:
    words = _VERBS.get(event.kind) or event.kind.replace(".", " ").replace("_", " ").capitalize()
    if event.kind in ("order.placed", "order.procedure_mapped", "order.procedure_changed"):
        exams = RequestedProcedure.objects.filter(order=event.facts["order"]).select_related("procedure_type")
        return f"{words}: {', '.join(str(one.procedure_type or 'exam not known') for one in exams)}"
    changed = event.facts.get("changed") or []
    return f"{words}: {', '.join(str(one).replace('_', ' ') for one in changed)}" if changed else words


def _after(event: Event) -> tuple[tuple[str, str, str], ...]:
    """The new values of a patient's changed details; the old ones are filled in when all is taken back."""
    if event.kind != "patient.updated":
        return ()
    patient = Patient.objects.get(pk=event.facts["patient"])
    columns = [name for name in event.facts.get("changed", []) if hasattr(patient, name)]
    return tuple((name, str(patient.pk), str(getattr(patient, name) or "")) for name in columns)


def _with_before(draft: Rehearsal) -> Rehearsal:
    def complete(effect: Effect) -> Effect:
        if not effect.changes:
            return effect
        known = Patient.objects.filter(pk=int(effect.changes[0][1])).first()
        return Effect(
            effect.kind, effect.words, effect.subject,
            tuple((name, str(getattr(known, name, "") or ""), then) for name, _, then in effect.changes),
        )  # fmt: skip

    return Rehearsal(
        draft.ack_code, draft.ack, draft.error_code, draft.error_location, draft.error_text,
        tuple(complete(one) for one in draft.effects), draft.told, draft.cases, draft.trouble,
    )  # fmt: skip


# Before a change


@dataclass(frozen=True, slots=True)
class Change:
    """A partner's new settings (see `actions.save_endpoint`) and, when given, all of its code maps."""

    values: Mapping[str, Any] = field(default_factory=dict)
    #: (table, theirs, ours)
    code_maps: Sequence[tuple[str, str, str]] | None = None

    def make(self, name: str, *, by: User) -> Endpoint:
        endpoint = actions.save_endpoint(name, self.values, by=by)
        if self.code_maps is not None:
            actions.set_code_maps(endpoint, self.code_maps, by=by)
        return endpoint


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored message that would come out otherwise."""

    message: InboundMessage | OutboundMessage
    #: What would no longer happen, and what would happen instead.
    gone: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    tried: int
    differences: tuple[Difference, ...]
    #: Messages that could not be tried, with the reason.
    untried: tuple[str, ...] = ()


def replay(endpoint: Endpoint, change: Change, *, by: User, limit: int = REPLAYED) -> Replay:
    """Try the partner's last `limit` messages as things are and after `change`; what differs, newest first.

    Raises BadValue when the change itself is none that can be saved.
    """
    require(by, "endpoint.change")
    with taken_back():
        change.make(endpoint.name, by=by)
    found = (
        _replay_in(endpoint, change, by, limit)
        if endpoint.direction == Direction.IN
        else _replay_out(endpoint, change, by, limit)
    )
    record_access(by, "endpoint.replayed", subject=f"endpoint:{endpoint.pk}", count=found.tried)
    return found


def _replay_in(endpoint: Endpoint, change: Change, by: User, limit: int) -> Replay:
    differences: list[Difference] = []
    untried: list[str] = []
    messages = list(InboundMessage.objects.filter(endpoint=endpoint).order_by("-pk")[:limit])
    for message in messages:
        try:
            raw = as_new(bytes(message.raw))
            now = _run(raw, endpoint)
            then = _run(raw, endpoint, lambda: change.make(endpoint.name, by=by))
        except (NotFound, DatabaseError) as problem:
            untried.append(f"{message.type} {message.control_id}: {type(problem).__name__}")
            continue
        if difference := _difference(message, now.outcome, then.outcome):
            differences.append(difference)
    return Replay(len(messages) - len(untried), tuple(differences), tuple(untried))


def _replay_out(endpoint: Endpoint, change: Change, by: User, limit: int) -> Replay:
    """Tell two partners that do not exist what this one was told: one with its settings, one with the new ones."""
    messages = list(
        OutboundMessage.objects.filter(endpoint=endpoint, event__isnull=False)
        .select_related("event").order_by("-pk")[:limit]
    )  # fmt: skip
    events = {one.event.pk: one.event for one in reversed(messages) if one.event is not None}
    written: list[dict[tuple[int, str], bytes]] = []
    untried: set[str] = set()
    with taken_back():
        for name, made in (("now", Change(settings_of(endpoint), maps_of(endpoint))), ("then", change)):
            values = {**settings_of(endpoint), **made.values, "paused": False}
            twin = Change(values, made.code_maps if made.code_maps is not None else maps_of(endpoint)).make(
                f"{name} {new_control_id()}", by=by
            )
            for event in events.values():
                untried.update(_pass_on_alone(event))
            rows = OutboundMessage.objects.filter(endpoint=twin)
            written.append(
                {(one.event_id or 0, one.purpose): _without_numbers(bytes(one.raw)) for one in rows}
            )
    differences = []
    now, then = written
    for message in messages:
        key = (message.event_id or 0, message.purpose)
        before, after = (_lines(one.pop(key, b"")) for one in (now, then))
        if difference := _difference(message, before, after):
            differences.append(difference)
    return Replay(len(messages), tuple(differences), tuple(sorted(untried)))


def _pass_on_alone(event: Event) -> list[str]:
    from interfaces.subscribers import tell

    try:
        with transaction.atomic():
            tell(event)
    except (RisError, DatabaseError) as problem:
        return [f"{event.kind}: {type(problem).__name__}"]
    return []


def settings_of(endpoint: Endpoint) -> dict[str, Any]:
    """What `actions.save_endpoint` takes, as the partner has it."""
    return {name: getattr(endpoint, name) for name in actions.SETTINGS}


def maps_of(endpoint: Endpoint) -> list[tuple[str, str, str]]:
    return list(endpoint.code_maps.values_list("table", "theirs", "ours"))


def _difference(
    message: InboundMessage | OutboundMessage, now: Sequence[str], then: Sequence[str]
) -> Difference | None:
    if list(now) == list(then):
        return None
    gone = tuple(one for one in now if one not in then)
    new = tuple(one for one in then if one not in now)
    return Difference(message, gone, new)


def _lines(raw: bytes) -> list[str]:
    try:
        return [line for line in charsets.decode(raw).split("\r") if line]
    except RisError:
        return [raw.decode("latin-1")]


def _without_numbers(raw: bytes) -> bytes:
    """The message without its control id and time of sending, which are never the same twice."""
    head, _, rest = raw.partition(b"\r")
    fields = head.split(b"|")
    for position in (6, 9):
        if len(fields) > position:
            fields[position] = b""
    return b"|".join(fields) + b"\r" + rest


def as_new(raw: bytes) -> bytes:
    """The message as if it had not come before: a new order (NW) gets a placer number of its own.

    Bytes that are no message are left as they are.
    """
    try:
        message = er7.read(raw)
    except RisError:
        return raw
    if message.header.get(9) not in ("ORM", "OMG", "OMI"):
        return raw
    mark = hashlib.sha256(raw).hexdigest()[:6].upper()
    separator = message.header.raw(1).encode() or b"|"
    lines = raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r")
    new = False
    for number, line in enumerate(lines):
        fields = line.split(separator)
        if fields[0] == b"ORC":
            new = len(fields) > 1 and fields[1] == b"NW"
        if new and fields[0] in (b"ORC", b"OBR") and len(fields) > 2 and fields[2]:
            known, *namespace = fields[2].split(b"^")
            fields[2] = b"^".join([_number(mark, known), *namespace])
            lines[number] = separator.join(fields)
    return b"\r".join(lines)


def _number(mark: str, known: bytes) -> bytes:
    return f"T{mark}{hashlib.sha256(known).hexdigest()[:8].upper()}".encode()
