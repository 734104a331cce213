"""The engine's tables keep their rules by themselves, and its queries stay short however long the tables get."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.utils import timezone

from interfaces import engine, worklists
from interfaces.actions import configure_endpoint
from interfaces.hl7 import receiver
from interfaces.hl7.mllp import Frame
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from interfaces.states import INBOUND_FLOW, OUTBOUND_FLOW, InboundState, OutboundState
from interfaces.worklists import Wanted
from ris.accounts.models import system_user
from tests.flows.department import adt, orm
from tests.makers import make_facility, make_patient, make_procedure_type

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner() -> Endpoint:
    given = {"protocol": "mllp", "direction": "out", "address": "127.0.0.1:1"}
    return configure_endpoint("emr", given, by=system_user("shell"))


def outbound(partner: Endpoint, status: str = "queued", **fields: Any) -> OutboundMessage:
    values = {"purpose": "test", "type": "ORM^O01", "key": "A1", "raw": b"x", **fields}
    return OutboundMessage.objects.create(
        endpoint=partner, status=status, control_id=values.pop("control_id", None) or engine.new_control_id(), **values
    )  # fmt: skip


def inbound(status: str = "received", **fields: Any) -> InboundMessage:
    values = {"raw": b"x", "digest": b"d", "sender": "EMR|HOSP", "control_id": "1", **fields}
    return InboundMessage.objects.create(status=status, **values)


def refused_transitions(flow: Any, states: Any) -> list[tuple[str, str]]:
    return [(a, b) for a in states.values for b in states.values if a != b and (a, b) not in flow.pairs]


@pytest.mark.parametrize(("before", "after"), refused_transitions(OUTBOUND_FLOW, OutboundState))
def test_an_outbound_message_follows_its_life(partner: Endpoint, before: str, after: str) -> None:
    message = outbound(partner, before)
    with pytest.raises(InternalError), transaction.atomic():
        OutboundMessage.objects.filter(pk=message.pk).update(status=after)


@pytest.mark.parametrize(("before", "after"), refused_transitions(INBOUND_FLOW, InboundState))
def test_an_inbound_message_follows_its_life(before: str, after: str) -> None:
    message = inbound(before)
    with pytest.raises(InternalError), transaction.atomic():
        InboundMessage.objects.filter(pk=message.pk).update(status=after)


def test_a_message_is_applied_once() -> None:
    inbound("processed")
    with pytest.raises(IntegrityError, match="message_applied_once"), transaction.atomic():
        inbound("received")
    inbound("rejected")
    inbound("received", digest=b"other bytes")
    inbound("received", sender="OTHER|HOSP")


def test_a_partner_is_told_a_fact_once(partner: Endpoint) -> None:
    event = configure_and_event(partner)
    outbound(partner, event_id=event)
    with pytest.raises(IntegrityError, match="a_partner_is_told_a_fact_once"), transaction.atomic():
        outbound(partner, event_id=event)


def configure_and_event(partner: Endpoint) -> int:
    from ris.events.models import Event

    newest = Event.objects.order_by("-pk").first()
    assert newest is not None
    return newest.pk


@pytest.mark.parametrize("model", [InboundMessage, OutboundMessage])
def test_messages_are_never_deleted(partner: Endpoint, model: Any) -> None:
    message = outbound(partner) if model is OutboundMessage else inbound()
    with pytest.raises(InternalError), transaction.atomic():
        message.delete()


def test_an_earlier_open_message_holds_back_its_key_alone(partner: Endpoint) -> None:
    for status in ("rejected", "held", "queued", "sent"):
        outbound(partner, status, key=status, next_attempt_at=timezone.now() + timezone.timedelta(hours=1))
        outbound(partner, "queued", key=status)
    free = outbound(partner, "queued", key="free")
    due = engine.next_due(partner.pk, at=timezone.now())
    assert due == free


def test_an_accepted_message_costs_few_statements_and_no_savepoints(
    django_assert_max_num_queries: Any,
) -> None:
    """Ingest is as fast as its statements are few (performance P5)."""
    make_facility()
    make_procedure_type()
    configure_endpoint("anybody", {"protocol": "mllp", "direction": "in"}, by=system_user("shell"))
    for message, most in ((adt("Q1", event="A08"), 26), (orm("Q2", "PQ2"), 40)):
        with django_assert_max_num_queries(most) as captured:
            (answer,) = receiver.receive(Frame(message.encode()), "10.1.1.1")
        assert b"|AA|" in answer
        # One is the test's own transaction around it all.
        assert sum(one["sql"].startswith("SAVEPOINT") for one in captured.captured_queries) <= 1


def explained(statement: str, *values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", values)
        return "\n".join(row[0] for row in cursor.fetchall())


def plan(statement: str, *values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE interfaces_outboundmessage, interfaces_inboundmessage")
    return explained(statement, *values)


_MANY = 50_000
_FILL_IN = """
INSERT INTO interfaces_inboundmessage (endpoint_id, received_at, stored_on, peer, digest, sender, control_id, type,
    status, attempts, ack_code, repeats, control_id_reused, error_code, error_location, error_text, accession_number)
SELECT %(endpoint)s, now() - n * interval '1 minute', now(), '', int4send(n), 'EMR|HOSP', 'C' || n,
    (ARRAY['ADT^A08', 'ORM^O01', 'ORU^R01', 'SIU^S12'])[1 + n %% 4],
    CASE WHEN n %% 500 = 0 THEN 'rejected' ELSE 'processed' END,
    1, 'AA', 0, false, '', '', CASE WHEN n %% 500 = 0 THEN 'The exam code X' || n || ' is unknown.' ELSE '' END,
    CASE WHEN n %% 4 = 1 THEN 'A' || n ELSE '' END
FROM generate_series(1, %(many)s) n
"""
_FILL_OUT = """
INSERT INTO interfaces_outboundmessage (endpoint_id, created_at, stored_on, purpose, type, key, control_id, status,
    attempts, refusals, next_attempt_at, ack_code, error_class, error_text, note, accession_number)
SELECT %(endpoint)s, now() - n * interval '1 minute', now(), 'test',
    (ARRAY['ORM^O01', 'ORU^R01', 'SIU^S12', 'DFT^P03'])[1 + n %% 4],
    'A' || n, 'C' || n, CASE WHEN n %% 500 = 0 THEN 'rejected' ELSE 'accepted' END, 1, 0, now(), 'AA', '',
    CASE WHEN n %% 500 = 0 THEN 'The exam code X' || n || ' is unknown.' ELSE '' END, '', 'A' || n
FROM generate_series(1, %(many)s) n
"""


def test_every_way_to_search_messages_has_its_index(partner: Endpoint) -> None:
    """Patient, accession, control id, type, time, state and words of the error, among 50,000 each way."""
    known = make_patient()
    with connection.cursor() as cursor:
        for fill in (_FILL_IN, _FILL_OUT):
            cursor.execute(fill, {"endpoint": partner.pk, "many": _MANY})
        cursor.execute("ANALYZE interfaces_outboundmessage, interfaces_inboundmessage")
    now = timezone.now()
    number = known.identifiers.get().value
    ways = [
        Wanted(text=number), Wanted(text="A 1001"), Wanted(text="C777"), Wanted(text="code X1500"),
        Wanted(type="ORU^R01"), Wanted(type="ORU"), Wanted(since=now - timedelta(hours=2)), Wanted(status="rejected"),
        Wanted(since=now - timedelta(days=9), until=now - timedelta(days=8)), Wanted(endpoint=partner.pk),
        Wanted(endpoint=partner.pk, status="rejected", type="ORU^R01"),
    ]  # fmt: skip
    for search in (worklists.inbound, worklists.outbound):
        for wanted in ways:
            statement, values = search(wanted)[:50].query.sql_with_params()
            found = explained(statement, *values)
            assert "Seq Scan on interfaces_" not in found.replace("Seq Scan on interfaces_endpoint", ""), (
                wanted,
                found,
            )


@pytest.mark.django_db(transaction=True)
def test_messages_that_come_together_are_each_stored() -> None:
    """One commit may hold many; each sender hears of its own, and one bad message spoils nobody's."""
    arrivals = [
        engine.Arrival(b"MSH|%d" % n, None, "10.1.1.1", "E|H", "" if n % 5 == 0 else f"{n // 2}", "ADT^A08")
        for n in range(60)
    ]
    bad = engine.Arrival(b"MSH|bad", None, "10.1.1.1", "E|H", "\x00", "ADT^A08")
    together = threading.Barrier(12)

    def store(share: int) -> list[tuple[bytes, bool]]:
        together.wait(30)
        try:
            return [(found.raw, fresh) for found, fresh in map(engine.store, arrivals[share::12])]
        finally:
            connection.close()

    def fail() -> None:
        together.wait(30)
        try:
            engine.store(bad)
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        failing = pool.submit(fail)
        shares = [pool.submit(store, share) for share in range(11)]
        stored = [found for share in shares for found in share.result(60)]
        with pytest.raises(ValueError, match="NUL"):
            failing.result(60)
    assert sorted(raw for raw, _ in stored) == sorted(
        one.raw for n, one in enumerate(arrivals) if n % 12 != 11
    )
    assert all(fresh for _, fresh in stored)
    assert sorted(one.raw for one in InboundMessage.objects.all()) == sorted(raw for raw, _ in stored)


@pytest.mark.django_db(transaction=True)
def test_of_the_same_bytes_from_several_listeners_at_once_one_is_new() -> None:
    """MLLP-09: exactly once for partner, MSH-10 and bytes, whoever stores them first."""
    arrivals = [engine.Arrival(b"MSH|same", None, "10.1.1.1", "E|H", "1", "ADT^A08")] * 8
    others = [engine.Arrival(b"MSH|other", None, "10.1.1.1", "E|H", "1", "ADT^A08")]
    together = threading.Barrier(len(arrivals))

    def store(arrival: engine.Arrival) -> tuple[int, bool]:
        together.wait(30)
        try:
            message, fresh = engine.store(arrival)
            return message.pk, fresh
        finally:
            connection.close()

    with ThreadPoolExecutor(len(arrivals)) as pool:
        stored = list(pool.map(store, arrivals))
    assert len({pk for pk, _ in stored}) == 1
    assert [fresh for _, fresh in stored].count(True) == 1
    message, fresh = engine.store(others[0])
    assert (fresh, message.control_id_reused) == (True, True)
    assert InboundMessage.objects.count() == 2


def test_the_next_message_is_found_by_index_among_many_sent_ones(partner: Endpoint) -> None:
    OutboundMessage.objects.bulk_create(
        OutboundMessage(
            endpoint=partner, status="accepted" if n % 100 else "queued", purpose="test", type="ORM^O01",
            key=f"A{n % 50}", control_id=f"C{n}", raw=b"x",
        )
        for n in range(5000)
    )  # fmt: skip
    found = plan(engine._DUE, partner.pk, timezone.now())
    assert "outbound_due" in found or "outbound_open_in_order" in found
    assert "Seq Scan" not in found


def test_what_is_not_applied_is_found_by_index_among_many_that_are() -> None:
    InboundMessage.objects.bulk_create(
        InboundMessage(status="processed", raw=b"x", digest=b"d", sender="E|H", control_id=str(n))
        for n in range(5000)
    )
    inbound()
    found = plan("SELECT id FROM interfaces_inboundmessage WHERE status = 'received' ORDER BY id LIMIT 500")
    assert "inbound_unapplied" in found
    by_id = plan("SELECT id FROM interfaces_inboundmessage WHERE sender = 'E|H' AND control_id = '77'")
    assert "inbound_by_control_id" in by_id or "message_applied_once" in by_id
