"""Which protocols fit an exam, the best first, each with its reasons in words."""

from collections.abc import Iterable
from dataclasses import dataclass

from ris.core.formats import day
from ris.core.names import fold
from ris.protocolling.evidence import Evidence, evidence_of
from ris.protocolling.models import ExamRule, Protocol, ProtocolRequest
from ris.protocolling.states import DECIDED

#: What each reason weighs (own figures): what was done before counts more than the habit of the house, and what
#: speaks against a protocol more than all that speaks for it.
PRIOR, DEFAULT, WORD, MADE_FOR = 40, 25, 20, 10
AGAINST = -100

#: As many as have a key.
SHOWN = 9


@dataclass(frozen=True)
class Suggestion:
    protocol: Protocol
    weight: int
    reasons: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def suggestions_for(request: ProtocolRequest) -> list[Suggestion]:
    """The active protocols of the exam, the best first."""
    kind = request.procedure.procedure_type
    if kind is None:
        return []
    rule = ExamRule.objects.filter(procedure_type=kind).first()
    protocols = Protocol.objects.filter(exams=kind, active=True)
    return rank(
        protocols, evidence_of(request.order), default=rule.default_id if rule else None, prior=prior_of(request)
    )  # fmt: skip


def prior_of(request: ProtocolRequest) -> ProtocolRequest | None:
    """The protocol this patient's last exam of the same kind was made by."""
    return (
        ProtocolRequest.objects.filter(
            order__patient=request.order.patient_id, procedure__procedure_type=request.procedure.procedure_type,
            status__in=DECIDED, protocol__active=True,
        )
        .exclude(pk=request.pk)
        .exclude(order__status__in=["cancelled", "discontinued"])
        .select_related("protocol")
        .order_by("-status_at")
        .first()
    )  # fmt: skip


def rank(
    protocols: Iterable[Protocol], evidence: Evidence, *, default: int | None = None, prior: ProtocolRequest | None = None
) -> list[Suggestion]:  # fmt: skip
    found = [_weighed(one, evidence, default, prior) for one in protocols]
    return sorted(found, key=lambda one: (-one.weight, one.protocol.name))


def _weighed(
    protocol: Protocol, evidence: Evidence, default: int | None, prior: ProtocolRequest | None
) -> Suggestion:
    weight, reasons = 0, []
    if prior is not None and prior.protocol_id == protocol.pk:
        weight += PRIOR
        reasons.append(f"Used for this patient on {day(prior.status_at)}")
    if default == protocol.pk:
        weight += DEFAULT
        reasons.append("Default for this exam")
    said = [word for word in protocol.indications if (known := fold(word)) and f" {known}" in evidence.words]
    if said:
        weight += WORD * len(said)
        reasons.append(f"The request says {', '.join(f'“{word}”' for word in said)}")
    if evidence.age is not None and _is_for_age(protocol, evidence.age) and _ages(protocol):
        weight += MADE_FOR
        reasons.append(f"Made for patients {_ages(protocol)}")
    cautions = speaks_against(protocol, evidence)
    return Suggestion(protocol, weight + AGAINST * len(cautions), tuple(reasons), tuple(cautions))


def speaks_against(protocol: Protocol, evidence: Evidence) -> list[str]:
    """What makes the protocol the wrong one for this patient, as far as is known."""
    found = []
    if evidence.age is not None and not _is_for_age(protocol, evidence.age):
        found.append(f"Made for patients {_ages(protocol)}; this one is {evidence.age}")
    if protocol.least_egfr and evidence.egfr is not None and evidence.egfr < protocol.least_egfr:
        found.append(f"eGFR {evidence.egfr.normalize():f} is below {protocol.least_egfr}")
    if protocol.contrast_agent and _is_allergic(protocol, evidence.allergies):
        found.append(f"Allergy recorded: {evidence.allergies}")
    return found


def _is_for_age(protocol: Protocol, age: int) -> bool:
    old_enough = protocol.from_age is None or age >= protocol.from_age
    return old_enough and (protocol.below_age is None or age < protocol.below_age)


def _ages(protocol: Protocol) -> str:
    parts = []
    if protocol.from_age is not None:
        parts.append(f"from {protocol.from_age}")
    if protocol.below_age is not None:
        parts.append(f"below {protocol.below_age}")
    return f"{' and '.join(parts)} years" if parts else ""


#: How allergies to the agents of a modality are recorded. Who writes only "contrast" means all of them.
_AGENTS = {"MR": "GADO"}
_IODINE, _ANY = "IOD", "CONTRAST"


def _is_allergic(protocol: Protocol, allergies: str) -> bool:
    known = fold(allergies)
    if any(word in known for word in fold(protocol.contrast_agent).split()[:1]):
        return True
    named = [word for word in (_IODINE, *_AGENTS.values()) if word in known]
    return _AGENTS.get(protocol.modality, _IODINE) in named or (not named and _ANY in known)
