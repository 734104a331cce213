"""Registering patients and keeping their details."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, Duplicate, MissingData
from ris.core.identifiers import next_number
from ris.core.names import PersonName, fold
from ris.department.models import Facility, Practitioner
from ris.events.outbox import record
from ris.patients.models import Patient, PatientClass, PatientIdentifier, Sex, Visit
from ris.patients.states import VisitStatus


@dataclass(frozen=True)
class NewIdentifier:
    value: str
    authority: str
    type: str = "MR"


@dataclass(frozen=True)
class NewPatient:
    """What a sender or the desk says of a patient. The first identifier is the primary one."""

    name: PersonName
    identifiers: tuple[NewIdentifier, ...] = ()
    birth_date: str = ""
    sex: str = Sex.UNKNOWN
    #: The other columns of Patient by name: phone, mobile, email, address, language, allergies, alerts ...
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewVisit:
    number: str
    authority: str = ""
    patient_class: str = PatientClass.UNKNOWN
    location: str = ""
    service: str = ""
    account: str = ""
    patient_type: str = ""
    financial_class: str = ""
    attending: Practitioner | None = None
    referring: Practitioner | None = None
    admitting: Practitioner | None = None
    pregnancy: str = ""
    admitted_at: datetime | None = None
    discharged_at: datetime | None = None


class VisitEvent(StrEnum):
    """What happened to a visit; the fact is `visit.<event>`."""

    UPDATED = "updated"
    ADMITTED = "admitted"
    PREADMITTED = "preadmitted"
    TRANSFERRED = "transferred"
    TRANSFER_CANCELLED = "transfer_cancelled"
    CLASS_CHANGED = "class_changed"
    DISCHARGED = "discharged"
    DISCHARGE_CANCELLED = "discharge_cancelled"
    CANCELLED = "cancelled"


#: The status an event leads to; the others leave it.
_LEADS_TO = {
    VisitEvent.ADMITTED: VisitStatus.ACTIVE,
    VisitEvent.PREADMITTED: VisitStatus.PREADMIT,
    VisitEvent.DISCHARGED: VisitStatus.DISCHARGED,
    VisitEvent.DISCHARGE_CANCELLED: VisitStatus.ACTIVE,
    VisitEvent.CANCELLED: VisitStatus.CANCELLED,
}


#: Columns a change may name.
CHANGEABLE = frozenset(
    [
        *["family", "given", "middle", "prefix", "suffix", "ideographic", "phonetic", "birth_date", "sex"],
        *["phone", "mobile", "email", "address", "language", "allergies", "alerts", "died_on", "restricted"],
        *["aliases", "mothers_name", "race", "multiple_birth", "contacts", "coverages"],
    ]
)


def find_patient(value: str, authority: str) -> Patient | None:
    """The patient of an identifier; a retired record leads to the one it was merged into."""
    known = (
        PatientIdentifier.objects.select_related("patient").filter(value=value, authority=authority).first()
    )
    return survivor(known.patient) if known else None


def survivor(patient: Patient) -> Patient:
    while patient.merged_into is not None:
        patient = patient.merged_into
    return patient


def living(patient: Patient) -> Patient:
    """The survivor as the database has it now; what is in hand may be older than a merge."""
    return survivor(Patient.objects.select_related("merged_into").get(pk=patient.pk))


@transaction.atomic
def register_patient(new: NewPatient, *, by: User, at: datetime | None = None) -> Patient:
    """Add a patient. Without an identifier the facility's next own number is given.

    Raises Duplicate when an identifier already names a patient, MissingData without a family name.
    """
    require(by, "patient.register")
    name = new.name.stripped()
    if not name.family:
        raise MissingData("Enter the family name.", location="family")
    identifiers = new.identifiers or (_own_number(),)
    patient = Patient(
        family=name.family, given=name.given, middle=name.middle, prefix=name.prefix, suffix=name.suffix,
        ideographic=name.ideographic, phonetic=name.phonetic, birth_date=checked_birth_date(new.birth_date),
        sex=_checked_sex(new.sex), updated_at=at or timezone.now(),
    )  # fmt: skip
    for column, value in new.details.items():
        _set(patient, column, value)
    patient.search = search_text(patient, identifiers)
    patient.save()
    for number, identifier in enumerate(identifiers):
        _add_identifier(patient, identifier, primary=number == 0)
    record("patient.registered", f"patient:{patient.pk}", by=by, patient=patient.pk)
    return patient


def _own_number() -> NewIdentifier:
    facility = Facility.objects.order_by("pk").first()
    if facility is None:
        raise MissingData("Set up a facility before registering patients.")
    return NewIdentifier(f"9{next_number('core_patient_number'):08d}", facility.assigning_authority)


def _add_identifier(patient: Patient, identifier: NewIdentifier, *, primary: bool) -> None:
    if not identifier.value or not identifier.authority:
        raise MissingData("A patient number needs its value and its authority.", location="PID-3")
    try:
        with transaction.atomic():
            PatientIdentifier.objects.create(
                patient=patient, value=identifier.value, authority=identifier.authority,
                type=identifier.type[:5] or "MR", primary=primary,
            )  # fmt: skip
    except IntegrityError:
        raise Duplicate(
            f"Number {identifier.value} of {identifier.authority} already names another patient.",
            location="PID-3",
        ) from None


@transaction.atomic
def update_patient(
    patient: Patient,
    changes: Mapping[str, Any],
    *,
    by: User,
    identifiers: tuple[NewIdentifier, ...] = (),
    version: int | None = None,
    at: datetime | None = None,
) -> Patient:
    """Change what `changes` names and add the identifiers that are new; "" clears a column.

    Raises Conflict for a record that was merged into another meanwhile: it stays as it was. `version` is the
    one a person saw: Conflict when somebody else has changed the record since. `at` is the sender's time: a
    message older than the newest applied one changes nothing. Recorded only when something differs.
    """
    require(by, "patient.update")
    patient = Patient.objects.select_for_update().get(pk=patient.pk)
    if patient.merged_into_id is not None:
        raise Conflict("This record has been merged into another one. Change that one.")
    if version is not None and version != patient.version:
        raise Conflict("Somebody changed this patient while you were typing. Compare, then save again.")
    if at is not None and patient.updated_at is not None and at < patient.updated_at:
        return patient
    before = {column: getattr(patient, column) for column in changes}
    for column, value in changes.items():
        _set(patient, column, value)
    changed = sorted(column for column, value in before.items() if getattr(patient, column) != value)
    if not patient.family:
        raise MissingData("Enter the family name.", location="family")
    known = {(one.authority, one.value) for one in patient.identifiers.all()}
    added = [one for one in identifiers if (one.authority, one.value) not in known]
    if added:
        retired = PatientIdentifier.objects.filter(patient__merged_into=patient)
        theirs = set(retired.values_list("authority", "value"))
        added = [one for one in added if (one.authority, one.value) not in theirs]
    for number, identifier in enumerate(added):
        _add_identifier(patient, identifier, primary=not known and number == 0)
    if at is not None:
        patient.updated_at = at
    if added:
        changed.append("numbers")
    if changed:
        patient.version += 1
        patient.search = search_text(patient, tuple(patient.identifiers.all()))
    patient.save()
    if changed:
        record("patient.updated", f"patient:{patient.pk}", by=by, patient=patient.pk, changed=changed)
    if added:
        record("patient.renumbered", f"patient:{patient.pk}", by=by, patient=patient.pk)
    return patient


@transaction.atomic
def know_patient(new: NewPatient, *, by: User, at: datetime | None = None) -> Patient:
    """Find the patient by the first identifier that is known and bring the record up to date, or register them.

    Empty details of `new` change nothing. The identifiers of one message must not name two patients: Conflict.
    """
    found = {one.pk: one for one in (find_patient(i.value, i.authority) for i in new.identifiers) if one}
    if len(found) > 1:
        raise Conflict("The numbers of this message belong to different patients.", location="PID-3")
    if not found:
        return register_patient(new, by=by, at=at)
    (patient,) = found.values()
    return take_news(patient, new, by=by, at=at)


def take_news(patient: Patient, new: NewPatient, *, by: User, at: datetime | None = None) -> Patient:
    """Bring a known record up to date with what a sender says; empty details change nothing."""
    changes: dict[str, Any] = {name: value for name, value in vars(new.name).items() if value}
    if new.birth_date:
        changes["birth_date"] = new.birth_date
    if new.sex and new.sex != Sex.UNKNOWN:
        changes["sex"] = new.sex
    changes.update(new.details)
    return update_patient(patient, changes, by=by, identifiers=new.identifiers, at=at or timezone.now())


def find_visit(number: str, authority: str) -> Visit | None:
    return Visit.objects.select_related("patient").filter(number=number, authority=authority).first()


@transaction.atomic
def open_visit(
    patient: Patient,
    new: NewVisit,
    *,
    by: User,
    event: VisitEvent = VisitEvent.UPDATED,
    at: datetime | None = None,
) -> Visit:
    """Add the visit or bring it up to date; empty values change nothing, nor does what is older than the
    newest event applied (`at` is the sender's time).

    A status that cannot follow (a discharge of a cancelled visit) stays as it is. Raises Conflict when the
    number is another patient's.
    """
    require(by, "patient.update")
    visit, opened = Visit.objects.select_for_update().get_or_create(
        authority=new.authority,
        number=new.number,
        defaults={
            "patient": patient,
            "status": VisitStatus.PREADMIT if event == VisitEvent.PREADMITTED else VisitStatus.ACTIVE,
        },
    )
    if visit.patient_id != patient.pk:
        raise Conflict("This visit number belongs to another patient.", location="PV1-19")
    if at is not None and visit.updated_at is not None and at < visit.updated_at:
        return visit
    was = visit.status
    before = {column: _stored(visit, column) for column in _VISIT_COLUMNS}
    for column in _VISIT_COLUMNS:
        value = getattr(new, column)
        if value and not (column == "patient_class" and value == PatientClass.UNKNOWN):
            setattr(visit, column, value)
    if event == VisitEvent.TRANSFER_CANCELLED and not new.location:
        visit.location = visit.previous_location
    changed = sorted(column for column, value in before.items() if _stored(visit, column) != value)
    if "location" in changed and not opened:
        visit.previous_location = before["location"]
    status = _LEADS_TO.get(event)
    if status == VisitStatus.ACTIVE:
        visit.discharged_at = None
    visit.updated_at = at or visit.updated_at
    visit.save()
    if status is not None and visit.status != status and visit.flow.allows(visit.status, status):
        visit.move(status, at=new.discharged_at if status == VisitStatus.DISCHARGED else at)
        changed.append("status")
    if opened or changed:
        fact = "opened" if opened and event == VisitEvent.UPDATED else event
        record(
            f"visit.{fact}", f"patient:{patient.pk}", by=by, patient=patient.pk, visit=visit.pk, was=was,
            changed=changed,
        )  # fmt: skip
    return visit


_VISIT_COLUMNS = (
    *("patient_class", "location", "service", "account", "attending", "referring", "admitting"),
    *("pregnancy", "admitted_at", "discharged_at", "patient_type", "financial_class"),
)


def _stored(visit: Visit, column: str) -> Any:
    """The value as the row has it: of a practitioner the key, which needs no query."""
    key = f"{column}_id"
    return getattr(visit, key if hasattr(visit, key) else column)


def checked_birth_date(text: str) -> str:
    """A full or partial ISO date that exists and is not in the future, or "". Raises BadValue."""
    if not text:
        return ""
    if not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", text):
        raise BadValue("Enter the date of birth as 14-Jul-1968, Jul-1968 or 1968.", location="birth_date")
    try:
        day = date.fromisoformat((text + "-01-01")[:10])
    except ValueError:
        raise BadValue(f"There is no date {text}.", location="birth_date") from None
    if day > timezone.now().date() or day.year < 1850:
        raise BadValue("Date of birth must be in the past.", location="birth_date")
    return text


def _checked_sex(value: str) -> str:
    if value not in Sex.values:
        raise BadValue(f"Sex {value!r} is not in table 0001.", location="sex")
    return value


def _set(patient: Patient, column: str, value: Any) -> None:
    if column not in CHANGEABLE:
        raise BadValue(f"{column} cannot be changed.", location=column)
    if column == "birth_date":
        value = checked_birth_date(value)
    elif column == "sex":
        value = _checked_sex(value or Sex.UNKNOWN)
    elif isinstance(value, str):
        limit = getattr(Patient._meta.get_field(column), "max_length", None)
        value = " ".join(value.split())[:limit]
    setattr(patient, column, value)


def search_text(patient: Patient, identifiers: tuple[NewIdentifier | PatientIdentifier, ...]) -> str:
    """Everything a person may type to find the patient, folded; a blank before and after every word."""
    phones = [re.sub(r"\D", "", number) for number in (patient.phone, patient.mobile)]
    names = fold(
        " ".join([patient.family, patient.given, patient.middle, patient.ideographic.replace("^", " "),
                  patient.phonetic.replace("^", " "), patient.aliases])
    )  # fmt: skip
    numbers = [re.sub(r"\W", "", one.value).upper() for one in identifiers]
    return f" {' '.join(part for part in [names, patient.birth_date, *numbers, *phones] if part)} "
