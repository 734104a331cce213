"""The judge: compares what was promised (ledger), what is kept (database) and what partners got (their own ledgers).

A line per invariant; the number is of violations, and each must be 0. See docs/reliability.md for what they mean.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.ledger import Line
from tests.peers.emr import Entry
from tests.stack import Stack

MEANING = {
    "I1": "promised, but without its effect",
    "I2": "effects doubled",
    "I3": "not told to every partner",
    "I4": "told twice, or in two versions",
    "I5": "told in the wrong order",
    "I6": "numbers given twice",
    "I8": "changes without audit, breaks in its chain",
    "I9": "on the wrong patient",
    "I10": "half states",
}
#: What some runs measure themselves, beside the evidence.
MEASURED = {
    "I11": "refused, or kept waiting for more than 5 s",
    "I12": "memory grown by more than 100 MB",
    "ST": "answered otherwise than PS3.4 F.7.2 says",
}
#: What a partner hears of one order, in this order (ORC-5 of an ORM, OBR-25 of an ORU).
_RANK = {"SC": 1, "IP": 2, "CM": 3, "P": 4, "F": 5, "C": 6, "CA": 9}


@dataclass(frozen=True)
class Inbound:
    control_id: str
    digest: str
    status: str


@dataclass(frozen=True)
class Order:
    placer: str
    accession: str
    status: str
    mrns: frozenset[str]
    appointments: int
    exams: int
    signed: int


@dataclass
class Evidence:
    """All that the judge looks at, in plain values, so that a control can doctor it."""

    ledger: list[Line] = field(default_factory=list)
    inbound: list[Inbound] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    #: MRN of the ledger to the patients that bear it.
    patients: dict[str, set[int]] = field(default_factory=dict)
    #: MRNs of records that went into another, once for each time.
    merged: list[str] = field(default_factory=list)
    #: Partner to what it made its own, in order, and to the bytes of all that came.
    heard: dict[str, list[Entry]] = field(default_factory=dict)
    arrived: dict[str, list[Entry]] = field(default_factory=dict)
    #: Orders of which a partner has refused a message, which now waits in sight of a person.
    waiting: dict[str, set[str]] = field(default_factory=dict)
    numbers: dict[str, list[str]] = field(default_factory=dict)
    unaudited: int = 0
    audit: str = ""
    halves: dict[str, int] = field(default_factory=dict)


def gather(stack: Stack, ledger: Iterable[Line], emrs: Mapping[str, Sequence[Entry]], tag: str) -> Evidence:
    """The evidence of the run `tag`: its control ids and placer numbers begin so."""
    ours = f"{tag}%"
    found = Evidence(ledger=list(ledger))
    found.inbound = [
        Inbound(control_id, bytes(digest).hex(), status)
        for control_id, digest, status in stack.query(
            "SELECT control_id, digest, status FROM interfaces_inboundmessage WHERE control_id LIKE %s", ours
        )
    ]
    found.orders = [
        Order(placer, accession, status, frozenset(mrns or ()), appointments, exams, signed)
        for placer, accession, status, mrns, appointments, exams, signed in stack.query(_ORDERS, ours)
    ]
    for value, patient in stack.query(
        "SELECT value, patient_id FROM patients_patientidentifier WHERE value LIKE %s", ours
    ):
        found.patients.setdefault(value, set()).add(patient)
    found.merged = [value for (value,) in stack.query(_MERGED, ours)]
    for name, entries in emrs.items():
        of_run = [one for one in entries if _placer(one).startswith(tag)]
        found.arrived[name] = of_run
        seen: dict[str, Entry] = {}
        for one in of_run:
            if one.answered not in ("AE", "AR"):
                seen.setdefault(one.control_id, one)
        found.heard[name] = list(seen.values())
        found.waiting[name] = {placer for (placer,) in stack.query(_WAITING, name, ours)}
    found.numbers = {
        name: [value for (value,) in stack.query(f"SELECT {column} FROM {table}")]
        for name, table, column in (
            ("accession number", "orders_order", "accession_number"),
            ("study UID", "orders_requestedprocedure", "study_instance_uid"),
            ("procedure id", "orders_requestedprocedure", "requested_procedure_id"),
            ("control id", "interfaces_outboundmessage", "control_id"),
        )
    }
    found.unaudited = int(stack.query(_UNAUDITED)[0][0])
    found.audit = stack.manage("verify_audit")
    found.halves = {what: int(stack.query(statement)[0][0]) for what, statement in _HALVES.items()}
    return found


_ORDERS = """
SELECT o.placer_order_number, o.accession_number, o.status,
  (SELECT array_agg(value) FROM patients_patientidentifier i WHERE i.patient_id = o.patient_id),
  (SELECT count(*) FROM scheduling_appointment a WHERE a.order_id = o.id),
  (SELECT count(*) FROM exams_exam e WHERE e.order_id = o.id),
  (SELECT count(*) FROM reporting_reportpart p JOIN reporting_reportedexam r ON r.report_id = p.report_id
     JOIN exams_exam e ON e.id = r.exam_id WHERE e.order_id = o.id AND p.kind = 'final')
FROM orders_order o WHERE o.placer_order_number LIKE %s
"""
_MERGED = """
SELECT i.value FROM patients_merge m JOIN patients_patientidentifier i ON i.patient_id = m.retired_id
WHERE i.value LIKE %s
"""
_WAITING = """
SELECT DISTINCT o.placer_order_number FROM interfaces_outboundmessage m
JOIN interfaces_endpoint e ON e.id = m.endpoint_id JOIN orders_order o ON o.accession_number = m.accession_number
WHERE e.name = %s AND m.status IN ('rejected', 'held') AND o.placer_order_number LIKE %s
"""
_UNAUDITED = """
SELECT count(*) FROM events_event e WHERE NOT EXISTS (
  SELECT 1 FROM audit_auditevent a WHERE a.action = e.kind AND (a.details->>'event')::bigint = e.id)
"""
_HALVES = {
    "message stored, never applied": "SELECT count(*) FROM interfaces_inboundmessage WHERE status = 'received'",
    "fact not handed on": "SELECT count(*) FROM events_delivery WHERE done_at IS NULL",
    # What a refused or held message of its order holds back waits with it.
    "message on its way": (
        "SELECT count(*) FROM interfaces_outboundmessage m WHERE status IN ('queued', 'sent') AND NOT EXISTS ("
        "SELECT 1 FROM interfaces_outboundmessage e WHERE e.endpoint_id = m.endpoint_id AND e.key = m.key "
        "AND e.id < m.id AND e.status IN ('rejected', 'held'))"
    ),
    "final part without signature": (
        "SELECT count(*) FROM reporting_reportpart WHERE kind = 'final' AND signed_by_id IS NULL"
    ),
    "signed report without signed part": (
        "SELECT count(*) FROM reporting_report r WHERE r.status = 'final' AND NOT EXISTS ("
        "SELECT 1 FROM reporting_reportpart p WHERE p.report_id = r.id AND p.kind = 'final')"
    ),
    "completed exam without end": (
        "SELECT count(*) FROM exams_exam WHERE status = 'completed' AND ended_at IS NULL"
    ),
    "cancelled order with a live appointment": (
        "SELECT count(*) FROM orders_order o JOIN scheduling_appointment a ON a.order_id = o.id "
        "WHERE o.status = 'cancelled' AND a.status IN ('booked', 'confirmed', 'arrived', 'ready')"
    ),
}


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """Invariant to its violations, each in words."""
    return {
        "I1": list(_lost(evidence)),
        "I2": list(_doubled(evidence)),
        "I3": list(_untold(evidence)),
        "I4": list(_told_twice(evidence)),
        "I5": list(_disordered(evidence)),
        "I6": list(_reused(evidence)),
        "I8": list(_unaudited(evidence)),
        "I9": list(_misplaced(evidence)),
        "I10": [f"{count} x {what}" for what, count in evidence.halves.items() if count],
    }


def violations(verdict: Mapping[str, list[str]]) -> list[str]:
    return [f"{name}: {one}" for name, found in verdict.items() for one in found]


def report(verdict: Mapping[str, list[str]]) -> str:
    return "\n".join(
        f"{name:>4} {len(found):6} {(MEANING | MEASURED)[name]}{': ' + '; '.join(found[:3]) if found else ''}"
        for name, found in verdict.items()
    )


def _promised(evidence: Evidence) -> Iterator[Line]:
    for line in evidence.ledger:
        if line["what"] == "acked":
            yield line


def _lost(evidence: Evidence) -> Iterator[str]:
    kept = {(one.control_id, one.digest) for one in evidence.inbound if one.status == "processed"}
    orders = {one.placer: one for one in evidence.orders}
    for line in _promised(evidence):
        kind, order = line["kind"], orders.get(line.get("placer", ""))
        if "sha256" in line and (line["step"], line["sha256"]) not in kept:
            yield f"{kind} {line['step']} has no stored message"
        if kind.startswith("A") and line["mrn"] not in evidence.patients:
            yield f"{kind} {line['step']} left no patient"
        if kind == "A40" and line["mrn"] not in evidence.merged:
            yield f"{kind} {line['step']} merged nothing"
        if not kind.startswith("A") and order is None:
            yield f"{kind} {line['step']} has no order"
        elif order is not None:
            done = {
                "CA": order.status == "cancelled", "book": order.appointments > 0, "start": order.exams > 0,
                "sign": order.signed > 0,
            }  # fmt: skip
            if not done.get(kind, True):
                yield f"{kind} {line['step']} did nothing"


def _doubled(evidence: Evidence) -> Iterator[str]:
    applied = Counter((one.control_id, one.digest) for one in evidence.inbound if one.status == "processed")
    yield from (f"message {key[0]} applied {count} times" for key, count in applied.items() if count > 1)
    placed = Counter(one.placer for one in evidence.orders)
    yield from (f"order {placer} placed {count} times" for placer, count in placed.items() if count > 1)
    for mrn, patients in evidence.patients.items():
        if len(patients) > 1:
            yield f"patient {mrn} registered {len(patients)} times"
    for mrn, count in Counter(evidence.merged).items():
        if count > 1:
            yield f"patient {mrn} merged {count} times"
    for order in evidence.orders:
        for what, count in (
            ("appointments", order.appointments),
            ("exams", order.exams),
            ("signed reports", order.signed),
        ):
            if count > 1:
                yield f"order {order.placer} has {count} {what}"


def _placer(entry: Entry) -> str:
    return entry.field("ORC", 2).split("^")[0]


def _status(entry: Entry) -> str:
    return entry.field("OBR", 25) if entry.type.startswith("ORU") else entry.field("ORC", 5)


#: What a partner must have heard once the step was promised.
_NEWS = {"book": "SC", "start": "IP", "complete": "CM", "prelim": "P", "sign": "F"}


def _untold(evidence: Evidence) -> Iterator[str]:
    steps: dict[str, set[str]] = defaultdict(set)
    for line in _promised(evidence):
        if line.get("placer"):
            steps[line["placer"]].add(line["kind"])
    for name, entries in evidence.heard.items():
        heard: dict[str, set[str]] = defaultdict(set)
        for one in entries:
            heard[_placer(one)].add(_status(one))
        for placer, kinds in steps.items():
            expected = {_NEWS[kind] for kind in kinds if kind in _NEWS}
            if "CA" in kinds and "book" in kinds:
                expected.add("CA")
            missing = expected - heard[placer]
            if missing and placer not in evidence.waiting.get(name, set()):
                yield f"{name} never heard {'/'.join(sorted(missing))} of {placer}"


def _told_twice(evidence: Evidence) -> Iterator[str]:
    for name, entries in evidence.heard.items():
        told: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for one in entries:
            told[(_placer(one), one.type, one.field("ORC", 1), _status(one))].add(one.control_id)
        for key, ids in told.items():
            if len(ids) > 1:
                yield f"{name} was told {' '.join(key)} as {len(ids)} messages"
    for name, entries in evidence.arrived.items():
        versions: dict[str, set[str]] = defaultdict(set)
        for one in entries:
            versions[one.control_id].add(one.text)
        for control_id, texts in versions.items():
            if len(texts) > 1:
                yield f"{name} got {len(texts)} versions of {control_id}"


def _disordered(evidence: Evidence) -> Iterator[str]:
    for name, entries in evidence.heard.items():
        latest: dict[str, int] = {}
        for one in entries:
            placer, rank = _placer(one), _RANK.get(_status(one), 0)
            if rank < latest.get(placer, 0):
                yield f"{name} heard {_status(one)} of {placer} too late"
            latest[placer] = max(rank, latest.get(placer, 0))


def _reused(evidence: Evidence) -> Iterator[str]:
    for what, values in evidence.numbers.items():
        for value, count in Counter(values).items():
            if count > 1:
                yield f"{what} {value} given {count} times"


def _unaudited(evidence: Evidence) -> Iterator[str]:
    if evidence.unaudited:
        yield f"{evidence.unaudited} facts without their audit row"
    if "whole" not in evidence.audit:
        yield f"the audit chain: {evidence.audit.strip() or 'not verified'}"


def _misplaced(evidence: Evidence) -> Iterator[str]:
    whose = {line["placer"]: line["mrn"] for line in evidence.ledger if line["kind"] == "NW"}
    for order in evidence.orders:
        if order.placer in whose and whose[order.placer] not in order.mrns:
            yield f"order {order.placer} belongs to {'/'.join(order.mrns)}"
    for name, entries in evidence.heard.items():
        for one in entries:
            mrn = whose.get(_placer(one))
            numbers = {number.split("^")[0] for number in one.field("PID", 3).split("~")}
            if mrn and mrn not in numbers:
                yield f"{name} heard of {_placer(one)} for {'/'.join(numbers)}"
