"""Asking: placing, changing, holding and withdrawing orders.

Upper apps move an order along with the `mark_...` functions. Withdrawing a planned order takes its plan
with it, so that verb is `scheduling.actions.cancel_order`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, Duplicate, IllegalTransition, MissingData
from ris.core.identifiers import new_accession_number, new_uid
from ris.department.actions import find_procedure_type
from ris.department.models import CodeMapping, Facility, Laterality, Practitioner, ProcedureType
from ris.events.outbox import record
from ris.orders.models import Answer, Diagnosis, Order, RequestedProcedure, Side
from ris.orders.states import OrderStatus, Priority
from ris.patients.actions import living
from ris.patients.models import Patient, Visit


@dataclass(frozen=True)
class NewOrder:
    """A request for one exam. `procedure_type` is None when the code must be looked up (and may be unknown)."""

    patient: Patient
    facility: Facility
    procedure_type: ProcedureType | None = None
    code: str = ""
    code_text: str = ""
    code_scheme: str = ""
    side: str = Side.NONE
    priority: str = Priority.ROUTINE
    reason: str = ""
    clinical_info: str = ""
    danger_code: str = ""
    ordering: Practitioner | None = None
    copies_to: Sequence[Practitioner] = ()
    visit: Visit | None = None
    ordered_at: datetime | None = None
    wanted_at: datetime | None = None
    transport: str = ""
    transport_arranged: str = ""
    answers: tuple[Answer, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    weight_kg: Decimal | None = None
    height_m: Decimal | None = None
    #: The order it is a part of, and the one it takes the place of.
    parent: Order | None = None
    replaces: Order | None = None
    callback_phone: str = ""
    entered_at_organization: str = ""
    placer_order_number: str = ""
    placer_authority: str = ""
    placer_group_number: str = ""
    source: str = ""
    #: A side that the exam requires may be missing when a machine asks; a person must give it.
    side_may_follow: bool = field(default=False)
    #: Of images that exist already (IHE RAD TF-1 3.4.1.2, unscheduled acquisition); blank: a new one is made.
    study_instance_uid: str = ""


#: What `change_order` may touch; after the exam has started only what does not say which exam it is.
CHANGEABLE = frozenset({"priority", "reason", "clinical_info", "danger_code", "ordering", "wanted_at", "transport",
                        "transport_arranged", "callback_phone", "visit", "answers", "diagnoses", "weight_kg",
                        "height_m"})  # fmt: skip
_BEFORE_START_ONLY = frozenset({"wanted_at"})


def request_again(order: Order, procedure_type: ProcedureType, *, side: str = "") -> NewOrder:
    """The same request for another exam, to take the place of `order`. The placer has no number for it yet."""
    return NewOrder(
        patient=order.patient, facility=order.facility, procedure_type=procedure_type, side=side,
        priority=order.priority, reason=order.reason, clinical_info=order.clinical_info,
        danger_code=order.danger_code, ordering=order.ordering, visit=order.visit, wanted_at=order.wanted_at,
        transport=order.transport, transport_arranged=order.transport_arranged, answers=tuple(order.answers),
        diagnoses=tuple(order.diagnoses), weight_kg=order.weight_kg, height_m=order.height_m, parent=order.parent,
        replaces=order, callback_phone=order.callback_phone, source=order.source,
        entered_at_organization=order.entered_at_organization, placer_group_number=order.placer_group_number,
        copies_to=tuple(order.copies_to.all()),
    )  # fmt: skip


@transaction.atomic
def place_order(new: NewOrder, *, by: User, at: datetime | None = None) -> Order:
    """Accept a request: it gets its accession number and its Study Instance UID, and waits to be booked.

    An unknown code is kept and waits for a person (`map_procedure`). Raises Duplicate when the placer has
    used the number before (HL7 205), MissingData, BadValue.
    """
    require(by, "order.place")
    moment = at or timezone.now()
    patient = living(new.patient)
    exam_type = new.procedure_type or find_procedure_type(new.code, sender=new.source)
    if exam_type is None and not new.code:
        raise MissingData("Pick the exam.", location="procedure_type")
    if new.priority not in Priority.values:
        raise BadValue(f"Priority {new.priority!r} is not known.", location="priority")
    _check_side(exam_type, new.side, may_follow=new.side_may_follow)
    if new.placer_order_number and _used(new):
        raise Duplicate(f"Order {new.placer_order_number} has been placed before.", location="ORC-2")
    if new.study_instance_uid and _is_studied(new.study_instance_uid):
        raise Duplicate("These images belong to another order already.", location="study_instance_uid")
    order = Order.objects.create(
        facility=new.facility, patient=patient, visit=new.visit,
        accession_number=new_accession_number(new.facility.accession_prefix, moment.year),
        placer_order_number=new.placer_order_number, placer_authority=new.placer_authority,
        placer_group_number=new.placer_group_number, source=new.source, priority=new.priority,
        reason=new.reason[:500], clinical_info=new.clinical_info, danger_code=new.danger_code[:64],
        ordering=new.ordering, ordered_at=new.ordered_at or moment, wanted_at=new.wanted_at,
        transport=new.transport, transport_arranged=new.transport_arranged, callback_phone=new.callback_phone[:40],
        answers=list(new.answers), diagnoses=list(new.diagnoses), weight_kg=new.weight_kg, height_m=new.height_m,
        parent=new.parent, replaces=new.replaces,
        entered_at_organization=new.entered_at_organization[:80], entered_by=by, status_at=moment,
    )  # fmt: skip
    order.copies_to.set(new.copies_to)
    RequestedProcedure.objects.create(
        order=order, procedure_type=exam_type, code=new.code or (exam_type.code if exam_type else ""),
        code_text=new.code_text or (exam_type.name if exam_type else ""),
        code_scheme=new.code_scheme or (exam_type.scheme if exam_type else ""), side=new.side,
        study_instance_uid=new.study_instance_uid or new_uid(), requested_procedure_id=f"{order.accession_number}-1",
    )  # fmt: skip
    facts: dict[str, Any] = {"known_code": exam_type is not None}
    if new.replaces is not None:
        facts["replaces"] = new.replaces.pk
    record("order.placed", order.subject, by=by, patient=patient.pk, order=order.pk, **facts)
    return order


def _check_side(exam_type: ProcedureType | None, side: str, *, may_follow: bool = False) -> None:
    if side not in Side.values:
        raise BadValue(f"Side {side!r} is not L, R or B.", location="side")
    rule = exam_type.laterality if exam_type else Laterality.OPTIONAL
    if rule == Laterality.REQUIRED and not side and not may_follow:
        raise MissingData("Pick the side: left, right or both.", location="side")
    if rule == Laterality.NONE and side:
        raise BadValue("This exam has no side.", location="side")


def _used(new: NewOrder) -> bool:
    return Order.objects.filter(
        source=new.source, placer_order_number=new.placer_order_number, placer_authority=new.placer_authority
    ).exists()


def _is_studied(study_instance_uid: str) -> bool:
    return RequestedProcedure.objects.filter(study_instance_uid=study_instance_uid).exists()


def find_by_placer(number: str, authority: str, *, source: str) -> Order | None:
    """The order of a sender's number. With a namespace another sender may mean it too, if only one has used it."""
    same = Order.objects.filter(placer_order_number=number, placer_authority=authority)
    own = same.filter(source=source).first()
    if own is not None or not authority:
        return own
    others = list(same[:2])
    return others[0] if len(others) == 1 else None


def find_by_filler(number: str) -> Order | None:
    return Order.objects.filter(accession_number=number).first()


def locked(order: Order) -> Order:
    """The row, held until the transaction ends: every verb on an order begins with this."""
    return (
        Order.objects.select_for_update(of=("self",)).select_related("patient", "facility").get(pk=order.pk)
    )


@transaction.atomic
def change_order(
    order: Order,
    changes: Mapping[str, Any],
    *,
    by: User,
    version: int | None = None,
    at: datetime | None = None,
) -> Order:
    """Change what is asked without changing which exam it is. Raises IllegalTransition once it is too late."""
    require(by, "order.change")
    order = locked(order)
    if version is not None and version != order.version:
        raise Conflict("Somebody changed this order while you were typing. Compare, then save again.")
    if order.status == OrderStatus.REPORTED or order.flow.is_final(order.status):
        raise IllegalTransition(f"This order is {order.get_status_display().lower()}; it cannot be changed.")
    started = order.status in {OrderStatus.IN_PROGRESS, OrderStatus.PERFORMED}
    for column, value in changes.items():
        if column not in CHANGEABLE:
            raise BadValue(f"{column} of an order cannot be changed.", location=column)
        if started and column in _BEFORE_START_ONLY and getattr(order, column) != value:
            raise IllegalTransition("The exam has started; the wanted time can no longer change.")
        if column == "priority" and value not in Priority.values:
            raise BadValue(f"Priority {value!r} is not known.", location="priority")
    changed = sorted(column for column, value in changes.items() if getattr(order, column) != value)
    for column in changed:
        value = changes[column]
        limit = getattr(Order._meta.get_field(column), "max_length", None) if isinstance(value, str) else None
        setattr(order, column, value[:limit] if limit else value)
    if changed:
        order.version += 1
        order.save(update_fields=[*changed, "version"])
        record(
            "order.changed", order.subject, by=by, patient=order.patient_id, order=order.pk, changed=changed
        )
    return order


@transaction.atomic
def hold_order(order: Order, *, reason: str, by: User, at: datetime | None = None) -> Order:
    """Keep a request from being booked. A booked one is unbooked first (`scheduling.actions.cancel_appointment`)."""
    require(by, "order.change")
    if not reason.strip():
        raise MissingData("Say why the order is held.", location="reason")
    order = locked(order)
    mark_held(order, reason=reason, by=by, at=at)
    return order


@transaction.atomic
def release_order(order: Order, *, by: User, at: datetime | None = None) -> Order:
    """Let a held request be booked again."""
    require(by, "order.change")
    order = locked(order)
    if order.status != OrderStatus.HELD:
        raise IllegalTransition("This order is not held.")
    mark_released(order, by=by, at=at)
    return order


@transaction.atomic
def map_procedure(
    procedure: RequestedProcedure,
    procedure_type: ProcedureType,
    *,
    by: User,
    remember: bool = False,
    side: str = "",
) -> RequestedProcedure:
    """Say which exam an unknown code means; `remember` applies it to the sender's later orders too."""
    require(by, "order.map_procedure")
    order = locked(procedure.order)
    procedure = RequestedProcedure.objects.select_for_update().get(pk=procedure.pk)
    if order.status not in {OrderStatus.REQUESTED, OrderStatus.HELD}:
        raise IllegalTransition("The exam can only be picked while the order waits to be booked.")
    chosen = side or procedure.side
    _check_side(procedure_type, chosen, may_follow=True)
    procedure.procedure_type = procedure_type
    procedure.side = chosen
    procedure.save(update_fields=["procedure_type", "side"])
    _outdate(order)
    if remember:
        CodeMapping.objects.update_or_create(
            sender=order.source, code=procedure.code, defaults={"procedure_type": procedure_type}
        )
    record(
        "order.procedure_mapped", order.subject, by=by, patient=order.patient_id, order=order.pk,
        procedure=procedure.pk, procedure_type=procedure_type.pk,
    )  # fmt: skip
    return procedure


@transaction.atomic
def change_procedure(
    procedure: RequestedProcedure, procedure_type: ProcedureType, *, by: User, side: str = ""
) -> RequestedProcedure:
    """Another exam was done than was asked for: from now on it counts, for the images, the report and the charge.

    Before the start the order is replaced instead (`scheduling.actions.replace_order`).
    """
    require(by, "order.change")
    order = locked(procedure.order)
    procedure = RequestedProcedure.objects.select_for_update().get(pk=procedure.pk)
    if order.status not in {OrderStatus.IN_PROGRESS, OrderStatus.PERFORMED}:
        raise IllegalTransition("The exam done can be changed once it has started and until it is reported.")
    chosen = side or (procedure.side if procedure_type.laterality != Laterality.NONE else Side.NONE)
    _check_side(procedure_type, chosen)
    if procedure.procedure_type_id == procedure_type.pk and procedure.side == chosen:
        return procedure
    procedure.procedure_type, procedure.side = procedure_type, chosen
    procedure.code, procedure.code_text = procedure_type.code, procedure_type.name
    procedure.code_scheme = procedure_type.scheme
    procedure.save(update_fields=["procedure_type", "side", "code", "code_text", "code_scheme"])
    _outdate(order)
    record(
        "order.procedure_changed", order.subject, by=by, patient=order.patient_id, order=order.pk,
        procedure=procedure.pk, procedure_type=procedure_type.pk,
    )  # fmt: skip
    return procedure


@transaction.atomic
def take_study(procedure: RequestedProcedure, study_instance_uid: str, *, by: User) -> bool:
    """The images of a procedure were made under the modality's own Study Instance UID: from now on it is theirs.

    False when it is another procedure's, or this one's already: then nothing changes.
    """
    require(by, "order.change")
    order = locked(procedure.order)
    if not study_instance_uid or _is_studied(study_instance_uid):
        return False
    procedure.study_instance_uid = study_instance_uid
    procedure.save(update_fields=["study_instance_uid"])
    _outdate(order)
    record(
        "order.study_taken", order.subject, by=by, patient=order.patient_id, order=order.pk, procedure=procedure.pk
    )  # fmt: skip
    return True


@transaction.atomic
def assign_placer_number(order: Order, number: str, authority: str, *, source: str, by: User) -> Order:
    """The placer has numbered an order that was born here (RAD-3, ORC-1 NA).

    Raises Conflict when it has another number already, Duplicate when `source` uses the number for another order.
    """
    require(by, "order.change")
    if not number:
        raise MissingData("The answer does not say the placer's number.", location="ORC-2")
    order = locked(order)
    if order.placer_order_number:
        if (order.placer_order_number, order.placer_authority) == (number, authority):
            return order
        raise Conflict("This order has another placer number already.", location="ORC-2")
    sender = order.source or source
    if Order.objects.filter(source=sender, placer_order_number=number, placer_authority=authority).exists():
        raise Duplicate("This number is another order's.", location="ORC-2")
    order.placer_order_number, order.placer_authority, order.source = (
        number[:64],
        authority[:120],
        sender[:64],
    )
    order.version += 1
    order.save(update_fields=["placer_order_number", "placer_authority", "source", "version"])
    record("order.numbered", order.subject, by=by, patient=order.patient_id, order=order.pk)
    return order


@transaction.atomic
def set_side(procedure: RequestedProcedure, side: str, *, by: User) -> RequestedProcedure:
    """Give the side that the order came without. Once the exam has started it stands."""
    require(by, "order.change")
    order = locked(procedure.order)
    procedure = (
        RequestedProcedure.objects.select_for_update(of=("self",))
        .select_related("procedure_type")
        .get(pk=procedure.pk)
    )
    if order.status not in {OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED}:
        raise IllegalTransition("The exam has started; its side can no longer change.")
    _check_side(procedure.procedure_type, side)
    procedure.side = side
    procedure.save(update_fields=["side"])
    _outdate(order)
    record("order.changed", order.subject, by=by, patient=order.patient_id, order=order.pk, changed=["side"])
    return procedure


def _outdate(order: Order) -> None:
    """Its procedure changed: who looks at the order should see it anew."""
    order.version += 1
    order.save(update_fields=["version"])


def mark_held(order: Order, *, reason: str, by: User, at: datetime | None = None) -> None:
    order.move(OrderStatus.HELD, at=at)
    order.hold_reason = reason.strip()[:200]
    order.save(update_fields=["hold_reason"])
    record("order.held", order.subject, by=by, patient=order.patient_id, order=order.pk)


def mark_released(order: Order, *, by: User, at: datetime | None = None) -> None:
    order.move(OrderStatus.REQUESTED, at=at)
    order.hold_reason = ""
    order.save(update_fields=["hold_reason"])
    record("order.released", order.subject, by=by, patient=order.patient_id, order=order.pk)


def mark_scheduled(order: Order, *, at: datetime | None = None) -> None:
    order.move(OrderStatus.SCHEDULED, at=at)


def mark_unscheduled(order: Order, *, at: datetime | None = None) -> None:
    if order.status == OrderStatus.SCHEDULED:
        order.move(OrderStatus.REQUESTED, at=at)


def mark_in_progress(order: Order, *, at: datetime | None = None) -> None:
    if order.status != OrderStatus.IN_PROGRESS:
        order.move(OrderStatus.IN_PROGRESS, at=at)


def mark_not_started(order: Order, *, scheduled: bool, at: datetime | None = None) -> None:
    """The exam was started by mistake (CID 9301 110514)."""
    order.move(OrderStatus.SCHEDULED if scheduled else OrderStatus.REQUESTED, at=at)


def mark_performed(order: Order, *, at: datetime | None = None) -> None:
    order.move(OrderStatus.PERFORMED, at=at)


def mark_discontinued(order: Order, *, reason: str, at: datetime | None = None) -> None:
    order.move(OrderStatus.DISCONTINUED, at=at)
    order.cancel_reason = reason[:200]
    order.save(update_fields=["cancel_reason"])


def mark_cancelled(order: Order, *, reason: str, at: datetime | None = None) -> None:
    order.move(OrderStatus.CANCELLED, at=at)
    order.cancel_reason = reason[:200]
    order.save(update_fields=["cancel_reason"])


def mark_reported(order: Order, *, at: datetime | None = None) -> None:
    if order.status != OrderStatus.REPORTED:
        order.move(OrderStatus.REPORTED, at=at)


def mark_unreported(order: Order, *, at: datetime | None = None) -> None:
    """Its report was withdrawn: an exam of it waits to be read again."""
    if order.status == OrderStatus.REPORTED:
        order.move(OrderStatus.PERFORMED, at=at)
