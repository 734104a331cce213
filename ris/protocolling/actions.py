"""Protocolling: wanting, approving, asking back, returning. The order is locked first.

A request that is asked about or returned holds its order while that waits to be booked, so that nobody books it
meanwhile. A booked order keeps its time: whether the patient is called off is the desk's to decide.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData
from ris.department.models import ProcedureType
from ris.events.outbox import record
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.protocolling.models import Bypass, ExamRule, Protocol, ProtocolRequest
from ris.protocolling.rules import judge
from ris.protocolling.states import RequestStatus

_BEFORE_START = {OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED}


@transaction.atomic
def want_protocols(order: Order, *, by: User, at: datetime | None = None) -> list[ProtocolRequest]:
    """Ask the rules about each exam of an order that is to come: somebody has to look, or the default stands.

    An exam that was judged before is judged anew only when it has become another one (`want_again`).
    """
    require(by, "order.change")
    order = orders.locked(order)
    if order.status not in _BEFORE_START:
        return []
    made = []
    for procedure in _procedures(order):
        if procedure.procedure_type is None or hasattr(procedure, "protocol_request"):
            continue
        judgement = judge(procedure, order)
        if judgement is None:
            continue
        moment = at or timezone.now()
        request = ProtocolRequest(order=order, procedure=procedure, status_at=moment, wanted_since=moment)
        if judgement.reason:
            request.status, request.reason = RequestStatus.BYPASSED, judgement.reason
            _copy(request, judgement.protocol, order)
        request.save()
        _tell("protocol.bypassed" if judgement.reason else "protocol.wanted", request, order, by=by)
        made.append(request)
    return made


def _procedures(order: Order) -> list[RequestedProcedure]:
    return list(order.procedures.select_related("procedure_type", "protocol_request"))


@transaction.atomic
def want_again(
    procedure: RequestedProcedure, *, by: User, at: datetime | None = None
) -> ProtocolRequest | None:
    """Another exam is asked: what was decided for the first counts no longer. Once it has begun it stays."""
    require(by, "order.change")
    order = orders.locked(procedure.order)
    request = _locked_of(procedure)
    if request is None:
        want_protocols(order, by=by, at=at)
        return _locked_of(procedure)
    if order.status not in _BEFORE_START:
        return request
    judgement = judge(request.procedure, order)
    if request.status != RequestStatus.WANTED:
        request.move(RequestStatus.WANTED, at=at)
    _forget(request)
    if judgement is None:
        request.move(RequestStatus.LAPSED, at=at)
    elif judgement.reason:
        request.reason = judgement.reason
        _copy(request, judgement.protocol, order)
        _save(request)
        request.move(RequestStatus.BYPASSED, at=at)
    _tell(f"protocol.{request.status}", request, order, by=by)
    return request


@transaction.atomic
def approve_protocol(
    request: ProtocolRequest, protocol: Protocol, *, by: User, note: str = "", version: int | None = None,
    at: datetime | None = None,
) -> ProtocolRequest:  # fmt: skip
    """The exam is to be made by `protocol`; `note` goes to the technologist. Raises BadValue, Conflict."""
    require(by, "protocol.decide")
    request, order = _locked(request, version)
    if order.status not in _BEFORE_START:
        raise IllegalTransition(f"This order is {order.get_status_display().lower()}; its protocol stands.")
    kind = request.procedure.procedure_type
    if not protocol.active or kind is None or not protocol.exams.filter(pk=kind.pk).exists():
        raise BadValue("Pick a protocol of this exam.", location="protocol")
    _copy(request, protocol, order)
    request.note, request.reason, request.decided_by = note.strip()[:300], "", by
    _save(request)
    request.move(RequestStatus.APPROVED, at=at)
    _tell("protocol.approved", request, order, by=by)
    return request


@transaction.atomic
def ask_referrer(
    request: ProtocolRequest, question: str, *, by: User, version: int | None = None, at: datetime | None = None
) -> ProtocolRequest:  # fmt: skip
    """What the request leaves open goes to the referrer; it comes back when the order is released."""
    return _hand_back(
        request, RequestStatus.ASKED, question, "Type the question.", by=by, version=version, at=at
    )


@transaction.atomic
def reject_request(
    request: ProtocolRequest, reason: str, *, by: User, version: int | None = None, at: datetime | None = None
) -> ProtocolRequest:  # fmt: skip
    """The exam is not to be made as it was asked: the order goes back to the referrer with the reason."""
    return _hand_back(
        request, RequestStatus.REJECTED, reason, "Say why it goes back.", by=by, version=version, at=at
    )


def _hand_back(
    request: ProtocolRequest, to: str, words: str, without: str, *, by: User, version: int | None, at: datetime | None
) -> ProtocolRequest:  # fmt: skip
    require(by, "protocol.decide")
    if not words.strip():
        raise MissingData(without, location="reason")
    request, order = _locked(request, version)
    request.reason, request.decided_by = words.strip()[:200], by
    _save(request)
    request.move(to, at=at)
    if order.status == OrderStatus.REQUESTED:
        orders.mark_held(order, reason=request.reason, by=by, at=at)
    _tell(f"protocol.{to}", request, order, by=by)
    return request


@transaction.atomic
def undo_decision(request: ProtocolRequest, *, by: User, at: datetime | None = None) -> ProtocolRequest:
    """Somebody has to look again; an order that the decision held is free again."""
    require(by, "protocol.decide")
    request, order = _locked(request, None)
    if order.status not in _BEFORE_START:
        raise IllegalTransition("The exam has started; its protocol stands.")
    held_for = request.reason
    request.move(RequestStatus.WANTED, at=at)
    if order.status == OrderStatus.HELD and order.hold_reason == held_for:
        orders.mark_released(order, by=by, at=at)
    _forget(request)
    _tell("protocol.wanted", request, order, by=by)
    return request


@transaction.atomic
def take_answers(order: Order, *, by: User, at: datetime | None = None) -> list[ProtocolRequest]:
    """The order was released: what was asked or returned is looked at again."""
    require(by, "order.change")
    order = orders.locked(order)
    back = []
    for request in _of_order(order, RequestStatus.ASKED, RequestStatus.REJECTED):
        if order.status in _BEFORE_START - {OrderStatus.HELD}:
            request.move(RequestStatus.WANTED, at=at)
            _tell("protocol.wanted", request, order, by=by)
            back.append(request)
    return back


@transaction.atomic
def lapse_requests(order: Order, *, by: User, at: datetime | None = None) -> None:
    """The order has ended, or its exam began, before anybody decided."""
    require(by, "order.change")
    order = orders.locked(order)
    if order.status in _BEFORE_START:
        return
    for request in _of_order(order, RequestStatus.WANTED, RequestStatus.ASKED, RequestStatus.REJECTED):
        request.move(RequestStatus.LAPSED, at=at)


@transaction.atomic
def revive_requests(order: Order, *, by: User, at: datetime | None = None) -> None:
    """The exam was started by mistake: what nobody had decided is wanted again."""
    require(by, "order.change")
    order = orders.locked(order)
    if order.status in _BEFORE_START:
        for request in _of_order(order, RequestStatus.LAPSED):
            request.move(RequestStatus.WANTED, at=at)
            _forget(request)


def _of_order(order: Order, *statuses: RequestStatus) -> list[ProtocolRequest]:
    rows = ProtocolRequest.objects.select_for_update().filter(order=order, status__in=statuses)
    return list(rows.order_by("pk"))


def _locked_of(procedure: RequestedProcedure) -> ProtocolRequest | None:
    return (
        ProtocolRequest.objects.select_for_update(of=("self",))
        .select_related("procedure__procedure_type")
        .filter(procedure=procedure)
        .first()
    )


def _locked(request: ProtocolRequest, version: int | None) -> tuple[ProtocolRequest, Order]:
    order = orders.locked(request.order)
    fresh = (
        ProtocolRequest.objects.select_for_update(of=("self",))
        .select_related("procedure__procedure_type")
        .get(pk=request.pk)
    )
    if version is not None and version != fresh.version:
        raise Conflict("Somebody decided this while you were looking. Look again, then decide.")
    return fresh, order


def _copy(request: ProtocolRequest, protocol: Protocol | None, order: Order) -> None:
    """What is decided today stays as it is, whatever the catalogue says tomorrow."""
    request.protocol = protocol
    request.contrast_agent = protocol.contrast_agent if protocol else ""
    request.contrast_ml = protocol.dose_ml(_weight(order)) if protocol else None
    request.premedication = protocol.premedication if protocol else ""
    request.preparation = protocol.preparation if protocol else ""


def _weight(order: Order) -> Decimal | None:
    return order.weight_kg


def _forget(request: ProtocolRequest) -> None:
    _copy(request, None, request.order)
    request.note, request.reason, request.decided_by = "", "", None
    _save(request)


def _save(request: ProtocolRequest) -> None:
    request.save(update_fields=["protocol", "contrast_agent", "contrast_ml", "premedication", "preparation", "note",
                                "reason", "decided_by"])  # fmt: skip


def _tell(fact: str, request: ProtocolRequest, order: Order, *, by: User) -> None:
    record(
        fact, order.subject, by=by, patient=order.patient_id, order=order.pk, procedure=request.procedure_id,
        protocol_request=request.pk,
    )  # fmt: skip


# ---- the catalogue and the rules


@transaction.atomic
def save_protocol(protocol: Protocol, exams: Sequence[ProcedureType], *, by: User) -> Protocol:
    """Add or change a protocol; decisions that stand keep what they copied. Raises BadValue."""
    require(by, "department.change")
    if any(exam.modality != protocol.modality for exam in exams):
        raise BadValue("A protocol suits exams of its own modality only.", location="exams")
    added = protocol.pk is None
    protocol.full_clean()
    protocol.save()
    protocol.exams.set(exams)
    record(
        f"protocol.{'added' if added else 'changed'}", f"protocol:{protocol.pk}", by=by, protocol=protocol.pk
    )
    return protocol


@transaction.atomic
def save_rule(rule: ExamRule | Bypass, *, by: User) -> ExamRule | Bypass:
    """Say whether an exam needs a protocol, or when nobody has to look. It counts for orders from now on."""
    require(by, "department.change")
    rule.full_clean()
    rule.save()
    noun = rule._meta.model_name
    record("protocol.rule_changed", f"protocol:{noun}:{rule.pk}", by=by, rule=rule.pk)
    return rule
