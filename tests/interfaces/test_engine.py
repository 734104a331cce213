"""The engine's tables keep their rules by themselves, and its queries stay short however long the tables get."""

from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.utils import timezone

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from interfaces.states import INBOUND_FLOW, OUTBOUND_FLOW, InboundState, OutboundState
from ris.accounts.models import system_user

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


def plan(statement: str, *values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE interfaces_outboundmessage, interfaces_inboundmessage")
        cursor.execute(f"EXPLAIN {statement}", values)
        return "\n".join(row[0] for row in cursor.fetchall())


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
