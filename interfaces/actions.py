"""What an operator does with partners and messages."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import available_timezones

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from interfaces import cases, engine
from interfaces.engine import Arrival, NewMessage
from interfaces.hl7 import ack, editing, er7, receiver
from interfaces.hl7 import profile as profiles
from interfaces.models import (
    FACT_GROUPS,
    Case,
    CaseStatus,
    CodeMap,
    CodeTable,
    Direction,
    Endpoint,
    InboundMessage,
    OnAmbiguous,
    OutboundMessage,
    Protocol,
)
from interfaces.states import OUTBOUND_FLOW, InboundState, OutboundState
from ris.accounts.models import User, system_user
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData
from ris.department.models import Facility
from ris.events.outbox import record
from ris.orders.models import Order
from ris.patients.models import Patient

# Partners

_PLAIN = (
    "address", "ae_title", "match_application", "match_facility", "sending_application", "sending_facility",
    "receiving_application", "receiving_facility", "hl7_version", "encoding", "answer_timeout", "paused",
    "tls", "certificate_fingerprint", "certificate_ends_at",
)  # fmt: skip

#: All that `save_endpoint` takes.
SETTINGS = (*_PLAIN, "protocol", "direction", "on_ambiguous", "facts", "profile")


@transaction.atomic
def save_endpoint(name: str, values: Mapping[str, Any], *, by: User) -> Endpoint:
    """Create or change the partner called `name`; what `values` does not name stays.

    Raises BadValue for a value no partner can have.
    """
    require(by, "endpoint.change")
    return configure_endpoint(name, values, by=by)


@transaction.atomic
def configure_endpoint(name: str, values: Mapping[str, Any], *, by: User) -> Endpoint:
    """`save_endpoint` for whoever runs `manage.py`: the shell is the right."""
    if not name or len(name) > 64:
        raise BadValue("Name the partner in 1 to 64 characters.", location="name")
    endpoint = Endpoint.objects.select_for_update().filter(name=name).first()
    if endpoint is None:
        facility = Facility.objects.order_by("pk").first()
        endpoint = Endpoint(
            name=name, user=system_user(name), sending_facility=facility.code if facility else "",
            receiving_application=name, receiving_facility=name,
        )  # fmt: skip
        if set(values.get("facts", ())) == {"charges"}:
            # Sent twice, a charge may be billed twice.
            endpoint.on_ambiguous = OnAmbiguous.HOLD
    values = dict(values)
    for column, allowed in (
        ("protocol", Protocol.values),
        ("direction", Direction.values),
        ("on_ambiguous", OnAmbiguous.values),
    ):
        if column in values:
            if values[column] not in allowed:
                raise BadValue(f"{column} takes {', '.join(allowed)}.", location=column)
            setattr(endpoint, column, values.pop(column))
    if "facts" in values:
        facts = list(values.pop("facts"))
        unknown = sorted(set(facts) - set(FACT_GROUPS))
        if unknown:
            raise BadValue(f"Facts are {', '.join(FACT_GROUPS)}, not {', '.join(unknown)}.", location="facts")
        endpoint.facts = facts
    if "profile" in values:
        chosen = dict(values.pop("profile"))
        for key, value in chosen.items():
            profiles.check(key, value)
        endpoint.profile = {
            key: value for key, value in {**endpoint.profile, **chosen}.items() if value != ""
        }
    for column, value in values.items():
        if column not in _PLAIN:
            raise BadValue(f"A partner has no {column}.", location=column)
        if column == "certificate_fingerprint" and value != endpoint.certificate_fingerprint:
            endpoint.certificate_ends_at = None  # of the former one
        setattr(endpoint, column, value)
    endpoint.active = True
    # A changed partner is tried at once.
    endpoint.next_attempt_at = timezone.now()
    endpoint.failures = 0
    _check(endpoint)
    endpoint.save()
    record("endpoint.changed", f"endpoint:{endpoint.pk}", by=by, endpoint=endpoint.pk)
    engine.wake_sender(endpoint.pk)
    return endpoint


@transaction.atomic
def set_code_maps(endpoint: Endpoint, maps: Iterable[tuple[str, str, str]], *, by: User) -> None:
    """Make (table, theirs, ours) of `maps` all that the partner calls otherwise. Raises BadValue."""
    require(by, "endpoint.change")
    wanted: dict[tuple[str, str], str] = {}
    for table, theirs, ours in maps:
        theirs, ours = theirs.strip(), ours.strip()
        if table not in CodeTable.values:
            raise BadValue(f"There is no code table {table}.", location="code_maps")
        if not theirs or not ours or len(theirs) > 64 or len(ours) > 64:
            raise BadValue(
                "Each code needs their word and ours, of 1 to 64 characters.", location="code_maps"
            )
        if wanted.setdefault((table, theirs), ours) != ours:
            raise BadValue(f"{theirs} is given twice in one table.", location="code_maps")
    known = {(one.table, one.theirs): one for one in endpoint.code_maps.all()}
    for key, one in known.items():
        if wanted.get(key) != one.ours:
            one.delete()
    CodeMap.objects.bulk_create(
        CodeMap(endpoint=endpoint, table=table, theirs=theirs, ours=ours)
        for (table, theirs), ours in wanted.items()
        if (table, theirs) not in known or known[table, theirs].ours != ours
    )
    if {key: one.ours for key, one in known.items()} != wanted:
        record("endpoint.code_maps_changed", f"endpoint:{endpoint.pk}", by=by, endpoint=endpoint.pk)


#: What can be told over which protocol.
_TOLD: dict[str, set[str]] = {
    Protocol.MLLP: {"orders", "results", "schedule", "charges"},
    Protocol.DICOM: {"results", "performed_steps"},
    Protocol.DICOMWEB: {"results"},
}


def _check(endpoint: Endpoint) -> None:
    """Raises BadValue for what would only show when the first message fails."""
    if untold := sorted(set(endpoint.facts) - _TOLD[endpoint.protocol]):
        raise BadValue(
            f"{endpoint.get_protocol_display()} cannot carry {', '.join(untold)}; it carries "
            f"{', '.join(sorted(_TOLD[endpoint.protocol]))}.",
            location="facts",
        )
    if endpoint.direction == Direction.OUT and endpoint.protocol != Protocol.DICOMWEB:
        host, _, port = endpoint.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise BadValue("The address is HOST:PORT, for example emr.example.org:2575.", location="address")
    if endpoint.protocol == Protocol.DICOMWEB and not re.fullmatch(r"https?://[^\s?#]+", endpoint.address):
        raise BadValue(
            "The address is a URL, for example https://pacs.example.org/dicom-web.", location="address"
        )
    if endpoint.protocol == Protocol.DICOM and not endpoint.ae_title and endpoint.direction == Direction.OUT:
        raise BadValue("A DICOM partner is called by its AE title.", location="ae_title")
    if endpoint.certificate_fingerprint and not re.fullmatch(
        r"[0-9a-f]{64}", endpoint.certificate_fingerprint
    ):
        raise BadValue(
            "The fingerprint is the SHA-256 of the certificate: 64 hexadecimal digits.",
            location="certificate_fingerprint",
        )
    if len(endpoint.ae_title) > 16:
        raise BadValue("An AE title has at most 16 characters.", location="ae_title")
    if endpoint.hl7_version not in receiver.VERSIONS:
        raise BadValue("The HL7 version is one of 2.2 to 2.8.2.", location="version")
    if endpoint.encoding not in er7.CHARSETS:
        raise BadValue(f"The encoding is one of {', '.join(er7.CHARSETS)}.", location="encoding")
    zone = endpoint.option("timezone")
    if zone and zone not in available_timezones():
        raise BadValue(f"There is no time zone {zone}; name it as America/New_York.", location="timezone")


@transaction.atomic
def pause_endpoint(endpoint: Endpoint, *, by: User) -> Endpoint:
    """Send nothing to the partner; messages queue up."""
    require(by, "endpoint.change")
    return configure_endpoint(endpoint.name, {"paused": True}, by=by)


@transaction.atomic
def resume_endpoint(endpoint: Endpoint, *, by: User) -> Endpoint:
    require(by, "endpoint.change")
    return configure_endpoint(endpoint.name, {"paused": False}, by=by)


@transaction.atomic
def remove_endpoint(endpoint: Endpoint, *, by: User) -> None:
    """Forget a partner; one that has messages is kept with them, and sends and gets nothing more."""
    require(by, "endpoint.change")
    retire_endpoint(endpoint, by=by)


@transaction.atomic
def retire_endpoint(endpoint: Endpoint, *, by: User) -> None:
    record("endpoint.removed", f"endpoint:{endpoint.pk}", by=by, endpoint=endpoint.pk)
    if endpoint.inbound.exists() or endpoint.outbound.exists():
        Endpoint.objects.filter(pk=endpoint.pk).update(active=False, facts=[])
    else:
        endpoint.delete()


# Outbound messages


def _locked(message: OutboundMessage, by: User) -> OutboundMessage:
    require(by, "message.act")
    return (
        OutboundMessage.objects.select_for_update(of=("self",)).select_related("endpoint").get(pk=message.pk)
    )


def _move(
    message: OutboundMessage, to: OutboundState, *, by: User, action: str, note: str = ""
) -> OutboundMessage:
    if not OUTBOUND_FLOW.allows(message.status, to):
        raise IllegalTransition(
            f"The message is {message.get_status_display().lower()}; this cannot be done now."
        )
    message.status = to
    message.note = note[:200]
    message.save(update_fields=["status", "note", "next_attempt_at", "refusals"])
    record_access(
        by, action, patient=message.patient_id, subject=message.accession_number or f"message:{message.pk}",
        reason=note, message=message.pk,
    )  # fmt: skip
    return message


@transaction.atomic
def resend(message: OutboundMessage, *, by: User) -> OutboundMessage:
    """Send the same bytes under the same control id again: a refused, held or accepted message.

    Raises IllegalTransition for one that is on its way or was discarded.
    """
    message = _locked(message, by)
    if message.status in (OutboundState.QUEUED, OutboundState.SENT):
        raise IllegalTransition("The message is already on its way; it is sent until it is answered.")
    if removed := message.bytes_removed_at:
        raise IllegalTransition(f"Its bytes were removed on {removed:%d-%b-%Y}; it cannot be sent again.")
    message.next_attempt_at = timezone.now()
    message.refusals = 0
    _move(message, OutboundState.QUEUED, by=by, action="message.resent")
    engine.wake_sender(message.endpoint_id)
    return message


@transaction.atomic
def hold(message: OutboundMessage, *, by: User, reason: str = "") -> OutboundMessage:
    """Keep a queued message, and the later ones of its order, from being sent."""
    message = _locked(message, by)
    if message.status == OutboundState.SENT:
        raise IllegalTransition("The message has been sent and waits for its answer; it cannot be held now.")
    return _move(message, OutboundState.HELD, by=by, action="message.held", note=reason)


@transaction.atomic
def release(message: OutboundMessage, *, by: User) -> OutboundMessage:
    """Send a held message after all."""
    message = _locked(message, by)
    if message.status != OutboundState.HELD:
        raise IllegalTransition("The message is not held.")
    message.next_attempt_at = timezone.now()
    _move(message, OutboundState.QUEUED, by=by, action="message.released")
    engine.wake_sender(message.endpoint_id)
    return message


@transaction.atomic
def discard(message: OutboundMessage, reason: str, *, by: User) -> OutboundMessage:
    """Give up a message, so that the later ones of its order can go on. Raises MissingData without a reason."""
    if not reason.strip():
        raise MissingData("Say why the message is not to be sent.", location="reason")
    message = _locked(message, by)
    _move(message, OutboundState.DISCARDED, by=by, action="message.discarded", note=reason.strip())
    engine.wake_sender(message.endpoint_id)
    return message


# Inbound messages


def reprocess(message: InboundMessage, *, by: User) -> InboundMessage:
    """Read a refused message again, after what stood in its way has been put right.

    The sender is not told: it has had its answer. Raises IllegalTransition for one that was applied.
    """
    require(by, "message.act")
    with transaction.atomic():
        message = InboundMessage.objects.select_for_update().get(pk=message.pk)
        if message.status not in (InboundState.REJECTED, InboundState.FAILED):
            raise IllegalTransition("Only a refused message can be read again; this one was not refused.")
        record_access(by, "message.reprocessed", patient=message.patient_id, subject=f"message:{message.pk}")
        try:
            with transaction.atomic():
                engine.reopen(message)
        except IntegrityError:
            raise Conflict("The sender has sent the same message again, and it was applied.") from None
    applied = receiver.apply(message.pk)
    cases.settle(applied)
    return applied


# Copies that a person has changed


def _may_edit(by: User) -> None:
    require(by, "message.act")
    require(by, "message.reveal")


@transaction.atomic
def send_edited(message: OutboundMessage, raw: bytes, *, by: User) -> OutboundMessage:
    """Queue changed bytes under a new control id in place of a message, which is given up unless it was accepted.

    Raises IllegalTransition for one whose answer is awaited.
    """
    _may_edit(by)
    message = _locked(message, by)
    if message.status == OutboundState.SENT:
        raise IllegalTransition(
            "The message has been sent and waits for its answer; it cannot be changed now."
        )
    copy = engine.enqueue(
        NewMessage(
            endpoint=message.endpoint, event=None, purpose=message.purpose,
            type=ack.header_of(raw, None).kind[:42], key=message.key, patient_id=message.patient_id,
            render=lambda control_id: editing.with_values(raw, {("MSH", 10): control_id}),
            accession_number=message.accession_number,
        )
    )  # fmt: skip
    assert copy is not None, "a message of no event is always new"
    copy.note = f"Edited copy of {message.control_id}, by {by.username}"[:200]
    copy.save(update_fields=["note"])
    record_access(
        by, "message.edited", patient=message.patient_id, subject=message.accession_number or f"message:{message.pk}",
        message=copy.pk, original=message.pk,
    )  # fmt: skip
    if OUTBOUND_FLOW.allows(message.status, OutboundState.DISCARDED):
        note = f"Replaced by {copy.control_id}"
        _move(message, OutboundState.DISCARDED, by=by, action="message.discarded", note=note)
    return copy


def apply_edited(message: InboundMessage, raw: bytes, *, by: User) -> InboundMessage:
    """Take changed bytes of a refused message as if its sender had sent them; returns the copy with its outcome.

    Raises IllegalTransition for a message that was applied, Conflict when these very bytes were.
    """
    _may_edit(by)
    return _apply_copy(message, raw, by=by)


def _apply_copy(message: InboundMessage, raw: bytes, *, by: User) -> InboundMessage:
    if message.status not in (InboundState.REJECTED, InboundState.FAILED):
        raise IllegalTransition(
            "Only a refused message can be changed and read again; this one was not refused."
        )
    header = ack.header_of(raw, None)
    with transaction.atomic():
        copy, fresh = engine.store(
            Arrival(
                raw=raw, endpoint=message.endpoint or receiver.endpoint_of(header), control_id=header.control_id,
                peer=f"copy of {message.pk} by {by.username}", type=header.kind,
                sender=f"{header.sending_application}|{header.sending_facility}",
            )
        )  # fmt: skip
        if not fresh:
            raise Conflict("These very bytes were applied before.")
        record_access(
            by, "message.edited", patient=message.patient_id, subject=f"message:{message.pk}",
            message=copy.pk, original=message.pk,
        )  # fmt: skip
    applied = receiver.apply(copy.pk)
    cases.settle(message)
    return applied


def match(case: Case, order: Order | None, patient: Patient | None, *, by: User) -> InboundMessage:
    """Apply the message of a case to the order, or for the patient, that a person says it means.

    Our own number goes into a copy of the message, which is then read like any other. The case is solved if
    the copy is applied.
    """
    require(by, "case.settle")
    if case.inbound is None or case.status != CaseStatus.OPEN:
        raise IllegalTransition("There is no refused message to match.")
    values: dict[tuple[str, int], str] = {}
    if order is not None:
        # With the placer's unknown number in front, the readers go by ours (ORC-3, OBR-3, SCH-27).
        number = er7.field([order.accession_number, "LIGHTBOX"])
        values |= {("ORC", 3): number, ("OBR", 3): number, ("SCH", 27): number}
        patient = order.patient
    if patient is not None:
        known = patient.identifiers.order_by("-primary", "pk").first()
        if known is None:
            raise MissingData("This patient has no number that could be sent.", location="patient")
        values["PID", 3] = er7.field([known.value, "", "", known.authority, known.type])
    message = case.inbound
    copy = editing.with_values(
        bytes(message.raw), values, message.endpoint.encoding if message.endpoint else ""
    )
    applied = apply_edited(message, copy, by=by)
    if applied.status == InboundState.PROCESSED:
        cases.solve_case(case, "Matched by hand; the message was applied.", by=by)
    return applied


# Many at once


def resend_some(
    rows: QuerySet[OutboundMessage], *, after: int, upto: int, by: User, most: int = 200
) -> tuple[int, int]:
    """Send the next `most` of these messages again, in order; returns (how many, the last one's number).

    One that cannot be sent again any more is passed over.
    """
    require(by, "message.act")
    done = 0
    for message in rows.filter(pk__gt=after, pk__lte=upto).order_by("pk")[:most]:
        after = message.pk
        try:
            resend(message, by=by)
        except IllegalTransition:
            continue
        done += 1
    record_access(by, "message.resent_by_filter", count=done, upto=upto)
    return done, after
