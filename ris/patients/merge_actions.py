"""One person, two records: merging them, taking that back, and moving a visit or a number to its owner.

The rows that belong to a patient live in higher apps, which this one may not call. They say so themselves:
a model with a `patient` and a `visit_path` goes where its patient goes. What hangs on an order (exams,
performed steps, reports, charges) goes with the order.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core import faults
from ris.core.errors import Conflict, Duplicate, MissingData, NotFound
from ris.core.flow import StatusRecord
from ris.events.outbox import record
from ris.patients.actions import NewIdentifier, find_patient, living, search_text
from ris.patients.models import Merge, Patient, PatientIdentifier, Visit

#: Why a merge cannot be taken back any more, in a sentence, or ""; for apps above to add to.
Objection = Callable[[Merge], str]
_objections: list[Objection] = []


def objects_to_unmerge(objection: Objection) -> Objection:
    """Register a reason of an app above why a merge must stand."""
    _objections.append(objection)
    return objection


class DoubleBooked(Conflict):
    """Both records have an appointment at the same time; a person has to move one first."""


class MergedElsewhere(Conflict):
    """The record to retire went into a third one before."""


def belongings() -> list[type[models.Model]]:
    """The tables whose rows are a patient's own, what others hang on first: locks are taken in this order."""
    found = {
        relation.related_model
        for relation in Patient._meta.related_objects
        if relation.field.name == "patient" and hasattr(relation.related_model, "visit_path")
    }
    order = {"Order": 0, "Appointment": 1}
    return sorted(found, key=lambda model: (order.get(model.__name__, 2), model._meta.label))


def _rows(model: type[models.Model], **conditions: Any) -> QuerySet[Any]:
    return model._default_manager.filter(**conditions)


def _hold(model: type[models.Model], **conditions: Any) -> list[int]:
    """Lock the rows and return their ids."""
    rows = _rows(model, **conditions).order_by("pk").select_for_update(of=("self",))
    return list(rows.values_list("pk", flat=True))


def _hand_over(model: type[models.Model], ids: list[int], to: Patient) -> None:
    """Who has one of the rows on the screen should see that it changed."""
    values: dict[str, Any] = {"patient": to}
    if issubclass(model, StatusRecord):
        values["version"] = F("version") + 1
    try:
        with transaction.atomic():
            _rows(model, pk__in=ids).update(**values)
    except IntegrityError as problem:
        if "not_double_booked" not in str(problem):
            raise
        raise DoubleBooked(
            "Both records have an appointment at the same time. Move or cancel one of them, then try again."
        ) from None


def _hold_patients(*patients: Patient) -> dict[int, Patient]:
    """Lock them in id order, against new orders too (see `of_a_living_patient`)."""
    held = Patient.objects.select_for_update().filter(pk__in={one.pk for one in patients}).order_by("pk")
    return {one.pk: one for one in held}


#: What a merge adds to the survivor beside numbers: leaving out an allergy could harm.
_JOINED = ("allergies", "alerts")


@transaction.atomic
def merge_patients(
    surviving: Patient, retired: Patient, *, by: User, reason: str = "", at: datetime | None = None
) -> Merge:
    """Move everything of `retired` to `surviving`, whose name and details stay as they are.

    The retired record stays, with its numbers, and leads to the survivor; records merged into it before now
    lead there too. A second time changes nothing. Raises Conflict for a circle, MergedElsewhere, and
    DoubleBooked; then nothing has moved.
    """
    require(by, "patient.merge")
    surviving = living(surviving)
    if living(retired).pk == surviving.pk != retired.pk:
        return Merge.objects.get(retired=retired, undone_at=None)
    if surviving.pk == retired.pk:
        raise Conflict("These records are one already; the merge would go in a circle.", location="MRG-1")
    if living(retired).pk != retired.pk:
        raise MergedElsewhere("This record has been merged into a third one before.", location="MRG-1")
    moved: dict[str, list[int]] = {}
    for model in belongings():
        if model is not Visit:  # a visit is locked after its patient, as `open_visit` has it
            _hold(model, patient=retired)
    held = _hold_patients(surviving, retired)
    surviving, retired = held[surviving.pk], held[retired.pk]
    if surviving.merged_into_id is not None or retired.merged_into_id is not None:
        raise Conflict("One of the records has just been merged. Look again, then decide.")
    for model in belongings():
        moved[model._meta.label] = _hold(model, patient=retired)
        _hand_over(model, moved[model._meta.label], surviving)
    moved["patients.Patient"] = list(retired.retired.order_by("pk").values_list("pk", flat=True))
    retired.retired.update(merged_into=surviving)
    faults.point("mid_merge")
    merge = Merge.objects.create(
        retired=retired, survivor=surviving, by=by, reason=reason.strip()[:200], at=at or timezone.now(),
        moved=moved, texts=_join_texts(surviving, retired),
    )  # fmt: skip
    retired.merged_into = surviving
    for patient in (surviving, retired):
        patient.version += 1
        patient.save()
    _tell("patient.merged", merge, by=by)
    return merge


def _join_texts(surviving: Patient, retired: Patient) -> dict[str, list[Any]]:
    joined: dict[str, list[Any]] = {}
    for column in _JOINED:
        mine, theirs = getattr(surviving, column), getattr(retired, column)
        parts = [part.strip() for part in f"{mine};{theirs}".split(";")]
        text = "; ".join(dict.fromkeys(filter(None, parts)))[:300]
        if theirs and text != mine:
            joined[column] = [mine, text]
            setattr(surviving, column, text)
    if retired.restricted and not surviving.restricted:
        joined["restricted"] = [False, True]
        surviving.restricted = True
    return joined


def _tell(fact: str, merge: Merge, *, by: User) -> None:
    """One fact, and a row in the trail for each of the two (DICOM PS3.15 110110)."""
    subject = f"patient:{merge.survivor_id}"
    record(fact, subject, by=by, patient=merge.survivor_id, retired=merge.retired_id, merge=merge.pk)
    record_access(by, fact, patient=merge.retired_id, subject=f"patient:{merge.retired_id}", merge=merge.pk)


def what_stands_against(merge: Merge) -> str:
    """Why the merge cannot be taken back, in a sentence; "" when it can."""
    if merge.undone_at is not None:
        return "This merge has been taken back already."
    if living(merge.survivor).pk != merge.survivor_id:
        return "The surviving record has itself been merged since. Take that merge back first."
    for model in belongings():
        ids = merge.moved.get(model._meta.label, [])
        if _rows(model, pk__in=ids).exclude(patient=merge.survivor).exists():
            return "Something that came with this merge has since been moved to another patient."
        path = model.visit_path  # type: ignore[attr-defined]
        if path == "pk":
            continue
        visits = merge.moved.get(Visit._meta.label, [])
        joined = _rows(model, pk__in=ids).exclude(**{path: None})
        if joined.exclude(**{f"{path}__in": visits}).exists():
            return "An order that would go back has since been joined to a visit of the other record."
        if _rows(model, patient=merge.survivor, **{f"{path}__in": visits}).exclude(pk__in=ids).exists():
            return "A visit that would go back has new orders of the surviving record."
    return next((why for objection in _objections if (why := objection(merge))), "")


@transaction.atomic
def unmerge_patients(merge: Merge, *, by: User, reason: str, at: datetime | None = None) -> Merge:
    """Give the retired record back exactly what the merge took. What came since stays with the survivor.

    Raises MissingData without a reason; Conflict, saying why, once it is too late.
    """
    require(by, "patient.merge")
    if not reason.strip():
        raise MissingData("Say why the merge is taken back.", location="reason")
    for model in belongings():
        if model is not Visit:
            _hold(model, pk__in=merge.moved.get(model._meta.label, []))
    held = _hold_patients(merge.survivor, merge.retired)
    merge = Merge.objects.select_for_update().get(pk=merge.pk)
    if why := what_stands_against(merge):
        raise Conflict(why)
    surviving, retired = held[merge.survivor_id], held[merge.retired_id]
    for column, (before, after) in merge.texts.items():
        if getattr(surviving, column) == after:
            setattr(surviving, column, before)
    retired.merged_into = None
    for patient in (surviving, retired):
        patient.version += 1
        patient.save()
    for model in belongings():
        _hand_over(model, merge.moved.get(model._meta.label, []), retired)
    Patient.objects.filter(pk__in=merge.moved.get("patients.Patient", []), merged_into=surviving).update(
        merged_into=retired
    )
    merge.undone_at, merge.undone_by, merge.undo_reason = at or timezone.now(), by, reason.strip()[:200]
    merge.save(update_fields=["undone_at", "undone_by", "undo_reason"])
    _tell("patient.unmerged", merge, by=by)
    return merge


@transaction.atomic
def move_visit(visit: Visit, to: Patient, *, by: User) -> Visit:
    """The visit was filed under the wrong person: it goes to `to` with its orders (A44, A45)."""
    require(by, "patient.merge")
    to = living(to)
    wrong = visit.patient
    if wrong.pk == to.pk:
        return visit
    for model in belongings():
        if model is not Visit:
            _hold(model, **{model.visit_path: visit.pk})  # type: ignore[attr-defined]
    _hold_patients(wrong, to)
    moved: dict[str, list[int]] = {}
    for model in belongings():
        path = model.visit_path  # type: ignore[attr-defined]
        moved[model._meta.label] = _hold(model, **{path: visit.pk})
        _hand_over(model, moved[model._meta.label], to)
    facts = {"visit": visit.pk, "wrong": wrong.pk, "moved": moved}
    record("visit.moved", f"patient:{to.pk}", by=by, patient=to.pk, **facts)
    record_access(by, "visit.moved", patient=wrong.pk, subject=f"patient:{wrong.pk}", visit=visit.pk)
    visit.refresh_from_db()
    return visit


@transaction.atomic
def rekey_visit(visit: Visit, *, by: User, number: str = "", authority: str = "", account: str = "") -> Visit:
    """Another visit number or another account (A35, A41, A49, A50). Raises Duplicate for a number in use."""
    require(by, "patient.update")
    visit = Visit.objects.select_for_update().get(pk=visit.pk)
    before = (visit.number, visit.authority, visit.account)
    visit.number = number[:64] or visit.number
    visit.authority = (authority or visit.authority)[:64]
    visit.account = account[:64] or visit.account
    if (visit.number, visit.authority, visit.account) == before:
        return visit
    try:
        with transaction.atomic():
            visit.save()
    except IntegrityError:
        raise Duplicate("This visit number is in use already.", location="PV1-19") from None
    record(
        "visit.rekeyed", f"patient:{visit.patient_id}", by=by, patient=visit.patient_id, visit=visit.pk,
        changed=["number", "account"],
    )  # fmt: skip
    return visit


@transaction.atomic
def move_identifier(number: NewIdentifier, to: Patient, *, by: User) -> Patient:
    """The number was given to the wrong person: from now on it names `to` (A43). Nothing else moves.

    Raises NotFound for an unknown number, Conflict for the last one of a record.
    """
    require(by, "patient.merge")
    to = living(to)
    known = PatientIdentifier.objects.filter(value=number.value, authority=number.authority).first()
    if known is None:
        raise NotFound("This patient number is not known here.", location="MRG-1")
    wrong = known.patient
    if living(wrong).pk == to.pk:
        return to
    held = _hold_patients(wrong, to)
    if wrong.identifiers.count() == 1:
        raise Conflict("This is the only number of that record; merge the records instead.", location="MRG-1")
    known.patient, known.primary = to, not to.identifiers.exists()
    known.save(update_fields=["patient", "primary"])
    left = wrong.identifiers.order_by("-primary", "pk").first()
    if left is not None and not left.primary:
        left.primary = True
        left.save(update_fields=["primary"])
    for patient in held.values():
        _renumbered(patient, by=by)
    return held[to.pk]


@transaction.atomic
def change_identifier(old: NewIdentifier, new: NewIdentifier, *, by: User) -> Patient:
    """The same person gets another number (A47); the old one no longer names anybody.

    Raises NotFound for an unknown old number, Duplicate when the new one is in use. A second time changes
    nothing.
    """
    require(by, "patient.update")
    known = PatientIdentifier.objects.filter(value=old.value, authority=old.authority).first()
    taken = find_patient(new.value, new.authority)
    if taken is not None:
        raise Duplicate("The new patient number is in use already.", location="PID-3")
    if known is None:
        raise NotFound("The old patient number is not known here.", location="MRG-1")
    patient = _hold_patients(known.patient)[known.patient_id]
    known.value, known.authority = new.value, new.authority
    try:
        with transaction.atomic():
            known.save(update_fields=["value", "authority"])
    except IntegrityError:
        raise Duplicate("The new patient number is in use already.", location="PID-3") from None
    _renumbered(patient, by=by)
    return patient


def _renumbered(patient: Patient, *, by: User) -> None:
    patient.search = search_text(patient, tuple(patient.identifiers.all()))
    patient.version += 1
    patient.save(update_fields=["search", "version"])
    subject = f"patient:{patient.pk}"
    record("patient.updated", subject, by=by, patient=patient.pk, changed=["numbers"])
    record("patient.renumbered", subject, by=by, patient=patient.pk)


@transaction.atomic
def note_link(patient: Patient, other: Patient, *, linked: bool, by: User) -> None:
    """Somebody holds two records to be of one person (A24), or no longer (A37). Nothing moves."""
    require(by, "patient.update")
    fact = "patient.linked" if linked else "patient.unlinked"
    record(fact, f"patient:{patient.pk}", by=by, patient=patient.pk, other=other.pk)
    record_access(by, fact, patient=other.pk, subject=f"patient:{other.pk}", other=patient.pk)


def merges_of(patient: Patient) -> QuerySet[Merge]:
    """The merges that stand by which other records have come to be this one, newest first."""
    return (
        Merge.objects.filter(retired__merged_into=patient, undone_at=None)
        .select_related("retired", "by")
        .prefetch_related("retired__identifiers")
        .order_by("-at")
    )
