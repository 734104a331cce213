"""Whether anybody has to look at an exam before it is made: the department's rules, as rows."""

from collections.abc import Iterable
from dataclasses import dataclass

from ris.accounts.models import Role
from ris.orders.models import Order, RequestedProcedure
from ris.protocolling.evidence import Evidence, evidence_of
from ris.protocolling.models import Bypass, Condition, ExamRule, Protocol
from ris.protocolling.suggestions import speaks_against


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one procedure. Without `reason` somebody has to look."""

    protocol: Protocol | None = None
    reason: str = ""


def judge(procedure: RequestedProcedure, order: Order) -> Judgement | None:
    """None when the exam has no protocols at all."""
    rule = (
        ExamRule.objects.select_related("default")
        .filter(procedure_type=procedure.procedure_type)
        .first()
    )  # fmt: skip
    if rule is None:
        return None
    default = rule.default if rule.default and rule.default.active else None
    if not rule.needs_protocol:
        return Judgement(default, "This exam is always made so.") if default else None
    evidence = evidence_of(order)
    for bypass in _rules_for(procedure):
        reason = _holds(bypass, order, default, evidence)
        if reason:
            return Judgement(default, reason)
    return Judgement()


def _rules_for(procedure: RequestedProcedure) -> Iterable[Bypass]:
    kind = procedure.procedure_type
    assert kind is not None
    for bypass in Bypass.objects.filter(active=True).order_by("pk"):
        if bypass.modality in ("", kind.modality) and bypass.procedure_type_id in (None, kind.pk):
            yield bypass


def _holds(bypass: Bypass, order: Order, default: Protocol | None, evidence: Evidence) -> str:
    if bypass.condition == Condition.LISTED:
        return "This exam is on the list that nobody has to look at."
    if bypass.condition == Condition.BY_RADIOLOGIST:
        user = order.ordering.user if order.ordering else None
        return (
            f"{order.ordering} ordered it, a radiologist." if user and Role.RADIOLOGIST in user.roles else ""
        )
    if default is None or speaks_against(default, evidence):
        return ""
    return "The exam's default protocol fits."
