"""ADT: who is whom. Merges, moves and changes of numbers, links, deletions (HL7 2.5.1 3.3.18 to 3.3.51, 3.6)."""

from collections.abc import Iterator
from dataclasses import dataclass

from interfaces.cases import NewCase, open_case, solve_cases
from interfaces.hl7 import reading
from interfaces.hl7.er7 import Message, Segment
from interfaces.hl7.reading import Context, Outcome
from interfaces.models import CaseKind
from ris.core.errors import Duplicate, MissingData, NotFound
from ris.core.names import PersonName
from ris.orders.actions import change_order
from ris.orders.models import Order
from ris.patients import merge_actions
from ris.patients.actions import (
    NewIdentifier,
    NewPatient,
    find_visit,
    register_patient,
    survivor,
    update_patient,
)
from ris.patients.models import Patient, Visit


@dataclass(frozen=True, slots=True)
class Pair:
    """One PID with one MRG: who stays, and who goes."""

    pid: Segment
    mrg: Segment
    stays: tuple[NewIdentifier, ...]
    goes: tuple[NewIdentifier, ...]

    @property
    def key(self) -> str:
        """Of the case in which it waits; holds the first number of each."""
        first, second = self.goes[0], self.stays[0]
        return f"{first.authority}|{first.value}>{second.authority}|{second.value}"[:160]


def pairs(message: Message, context: Context) -> Iterator[Pair]:
    """2.5.1 allows the group of PID and MRG to repeat (PIR-01). Old senders put the prior number in MRG-4 alone."""
    pid: Segment | None = None
    found = False
    for segment in message.segments:
        if segment.name == "PID":
            pid = segment
        elif segment.name == "MRG":
            found = True
            if pid is None:
                raise MissingData("The PID of the patient who stays is missing.", location="PID")
            prior = 4 if not segment.get(1) and segment.get(4) else 1
            goes = reading.identifiers(segment, context, prior)
            yield Pair(pid, segment, reading.identifiers(pid, context), goes)
    if not found:
        reading.required(message, "MRG")


def merge(message: Message, context: Context) -> Outcome:
    """A40, and A18, A34, A36, A39 of older senders: MRG-1 goes into PID-3 (PIR-01 to PIR-10).

    PID changes no demographics. What cannot be merged yet, since one of the two is not known or both are booked
    for the same time, is accepted and waits in a case.
    """
    outcome = Outcome()
    for pair in pairs(message, context):
        patient = _merge(pair, message, context)
        outcome = Outcome(patient or outcome.patient)
        if context.header.trigger == "A36" and patient is not None:
            _one_account(pair, patient, context)
    return outcome


def _numbers(*several: tuple[NewIdentifier, ...]) -> set[tuple[str, str]]:
    return {(one.value, one.authority) for numbers in several for one in numbers}


def _merge(pair: Pair, message: Message, context: Context) -> Patient | None:
    """The survivor, or None when the merge waits."""
    if _numbers(pair.stays) & _numbers(pair.goes):
        raise Duplicate("The patient who goes is the one who stays.", location=pair.mrg.location(1))
    reading.claim([*pair.stays, *pair.goes])
    surviving = _record(pair.stays)
    surviving = survivor(surviving) if surviving else None
    retired = _record(pair.goes)
    if (surviving is None or retired is None) and context.option("merge_unknown") == "create":
        surviving = surviving or _add(pair.stays, pair.pid, 5, context)
        retired = retired or _add(pair.goes, pair.mrg, 7, context)
    if surviving is None or retired is None:
        _wait(pair, "A merge names a patient who is not known here.", context)
        return None
    try:
        merge_actions.merge_patients(
            surviving, retired, by=context.by, reason=f"ADT {context.header.trigger} of {context.endpoint.name}",
            at=reading.told_at(message, context),
        )  # fmt: skip
    except (merge_actions.DoubleBooked, merge_actions.MergedElsewhere) as problem:
        _wait(pair, problem.message, context)
        return None
    if new := tuple(one for one in pair.stays if reading.record_of(one) is None):
        update_patient(surviving, {}, by=context.by, identifiers=new)
    solve_cases(CaseKind.MERGE_WAITS, pair.key, by=context.by, note="The merge was applied.")
    return surviving


def _record(numbers: tuple[NewIdentifier, ...]) -> Patient | None:
    return next((one for number in numbers if (one := reading.record_of(number))), None)


def _add(numbers: tuple[NewIdentifier, ...], segment: Segment, field: int, context: Context) -> Patient:
    """Who is not known yet, by name alone, so that later messages find the one or the other (PIR-05)."""
    names = segment.repetitions(field)
    name = reading.person_name(names) if names else PersonName()
    if not name.family:
        raise MissingData("The merged patient has no name.", location=segment.location(field))
    return register_patient(NewPatient(name, numbers), by=context.by)


def _wait(pair: Pair, sentence: str, context: Context) -> None:
    open_case(
        NewCase(
            CaseKind.MERGE_WAITS,
            pair.key,
            sentence,
            "It is applied when both are known and free; or apply it here, or merge them on the patient's page.",
        ),
        endpoint=context.endpoint,
        inbound=context.inbound,
    )


def merge_again(key: str, message: Message, context: Context) -> bool:
    """Apply the waiting merge with this case key; whether it is done."""
    done = [_merge(pair, message, context) for pair in pairs(message, context) if pair.key == key]
    return bool(done) and None not in done


# Accounts, visits, numbers


def _party(numbers: tuple[NewIdentifier, ...], location: str) -> Patient:
    found = _record(numbers)
    if found is None:
        raise NotFound("This patient is not known here.", location=location)
    return survivor(found)


def _visits(pair: Pair, patient: Patient) -> list[Visit]:
    """Those of the account in MRG-3."""
    account = pair.mrg.get(3)
    return list(Visit.objects.filter(patient=patient, account=account).order_by("pk")) if account else []


def _one_account(pair: Pair, patient: Patient, context: Context) -> None:
    if account := pair.pid.get(18):
        for visit in _visits(pair, patient):
            merge_actions.rekey_visit(visit, by=context.by, account=account)


def merge_account(message: Message, context: Context) -> Outcome:
    """A35, A41, A49: the account of MRG-3 is now that of PID-18, on every visit of it (ADT-15, ADT-21)."""
    outcome = Outcome()
    for pair in _of_patients(message, context):
        patient = _party(pair.stays, "PID-3")
        _one_account(pair, patient, context)
        outcome = Outcome(patient)
    return outcome


def _of_patients(message: Message, context: Context) -> Iterator[Pair]:
    """Pairs of events about accounts and visits, where MRG-1 may be empty: then it is PID-3."""
    pid = reading.required(message, "PID")
    for mrg in message.all("MRG") or [reading.required(message, "MRG")]:
        stays = reading.identifiers(pid, context)
        goes = reading.identifiers(mrg, context, 1) if mrg.get(1) else stays
        reading.claim([*stays, *goes])
        yield Pair(pid, mrg, stays, goes)


def merge_visit(message: Message, context: Context) -> Outcome:
    """A42, A50: the visit of MRG-5 is now that of PV1-19. With both known its orders go there (ADT-18, ADT-21)."""
    (pair, *_) = _of_patients(message, context)
    patient = _party(pair.stays, "PID-3")
    prior = find_visit(pair.mrg.get(5), pair.mrg.get(5, 4) or context.authority)
    key = reading.visit_key(message, context)
    if prior is None or key is None:
        raise NotFound("This visit is not known here.", location="MRG-5" if prior is None else "PV1-19")
    if prior.patient_id != patient.pk:
        merge_actions.move_visit(prior, patient, by=context.by)
    other = find_visit(*key)
    if other is None:
        merge_actions.rekey_visit(prior, by=context.by, number=key[0], authority=key[1])
    elif other.patient_id != patient.pk:
        raise Duplicate("This visit number is another patient's.", location="PV1-19")
    else:
        for order in Order.objects.filter(visit=prior).order_by("pk"):
            if not order.flow.is_final(order.status):
                change_order(order, {"visit": other}, by=context.by)
    return Outcome(patient)


def move_visit(message: Message, context: Context) -> Outcome:
    """A44, A45: a visit, or all of an account, was filed under MRG-1 and is PID-3's, with its orders (ADT-18)."""
    outcome = Outcome()
    for pair in _of_patients(message, context):
        right, wrong = _party(pair.stays, "PID-3"), _party(pair.goes, "MRG-1")
        visits = _visits(pair, wrong)
        if number := pair.mrg.get(5) or message.get("PV1-19"):
            known = find_visit(number, pair.mrg.get(5, 4) or message.get("PV1-19.4") or context.authority)
            visits = [known] if known is not None else []
        if not visits:
            raise NotFound("This visit is not known here.", location="MRG-5")
        for visit in visits:
            merge_actions.move_visit(visit, right, by=context.by)
        outcome = Outcome(right)
    return outcome


def move_number(message: Message, context: Context) -> Outcome:
    """A43: the number in MRG-1 is PID-3's; nothing else moves (ADT-19)."""
    outcome = Outcome()
    for pair in pairs(message, context):
        reading.claim([*pair.stays, *pair.goes])
        patient = _party(tuple(one for one in pair.stays if one not in pair.goes) or pair.stays, "PID-3")
        for number in pair.goes:
            merge_actions.move_identifier(number, patient, by=context.by)
        outcome = Outcome(patient)
    return outcome


def renumber(message: Message, context: Context) -> Outcome:
    """A46, A47: the same person under another number; 205 when that is in use (ADT-20)."""
    outcome = Outcome()
    for pair in pairs(message, context):
        reading.claim([*pair.stays, *pair.goes])
        patient = merge_actions.change_identifier(pair.goes[0], pair.stays[0], by=context.by)
        outcome = Outcome(patient)
    return outcome


def link(message: Message, context: Context) -> Outcome:
    """A24, A37: two PIDs held to be one person, or no longer. Noted in both histories; nothing is merged (ADT-13)."""
    named = [_record(reading.identifiers(pid, context)) for pid in message.all("PID")[:2]]
    known = [one for one in named if one is not None]
    if len(known) == 2 and known[0].pk != known[1].pk:
        linked = context.header.trigger == "A24"
        merge_actions.note_link(known[0], known[1], linked=linked, by=context.by)
    return Outcome(known[0] if known else None)


def deletion(message: Message, context: Context) -> Outcome:
    """A23, A29: what was recorded stays; a person decides what the sender means (ADT-22)."""
    patient = reading.known_patient(message, context)
    what = "person" if context.header.trigger == "A29" else "visit"
    open_case(
        NewCase(
            CaseKind.DELETION,
            f"{what}:{patient.pk if patient else context.header.control_id}",
            f"{context.endpoint.name} asks for a {what} to be deleted. Nothing was deleted.",
            "Ask the sender why; cancel the orders that are not wanted.",
            patient.pk if patient else None,
        ),
        endpoint=context.endpoint,
        inbound=context.inbound,
    )
    return Outcome(patient)
