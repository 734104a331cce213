"""What an operator does with messages."""

from collections.abc import Callable, Iterator

import pytest

from interfaces import actions, tasks
from interfaces.hl7.sender import sender
from interfaces.models import Endpoint, InboundMessage
from ris.audit.models import AuditEvent
from ris.core.errors import IllegalTransition, NotAllowed
from ris.orders.models import Order
from tests.cast import person
from tests.interfaces.hl7.samples import orm
from tests.makers import make_exam, make_order
from tests.peers.emr import Line


def test_a_refused_message_can_be_read_again_once_what_was_wrong_is_right(line: Line) -> None:
    assert line.send(orm("CA", number="L8^EMR")).error == "204"
    message = InboundMessage.objects.get()
    make_order(placer_order_number="L8", placer_authority="EMR", code="CTHEAD")
    with pytest.raises(NotAllowed):
        actions.reprocess(message, by=person("clara"))
    # The order is another patient's as far as the message's PID is concerned: nobody here has that number.
    again = actions.reprocess(message, by=person("ada"))
    assert (again.status, again.ack_code, again.attempts) == ("processed", "AA", 2)
    assert Order.objects.get().status == "cancelled"
    assert AuditEvent.objects.filter(action="message.reprocessed", username="ada").exists()
    with pytest.raises(IllegalTransition):
        actions.reprocess(again, by=person("ada"))


def test_a_cancel_after_the_start_is_refused_and_changes_nothing(line: Line) -> None:
    assert line.send(orm()).code == "AA"
    order = Order.objects.get()
    make_exam(order)
    refusal = line.send(orm("CA"))
    assert (refusal.code, refusal.error) == ("AE", "207")
    order.refresh_from_db()
    assert order.status == "in_progress"


@pytest.fixture
def sweep(transactional_db: None) -> Iterator[Callable[[], None]]:
    """A sweep starts this process's sender, which would send what later tests queue."""
    yield tasks.sweep
    sender.stop(30)


def test_the_sweep_applies_what_a_killed_listener_left(
    anybody: Endpoint, stored: Callable[[str], InboundMessage], sweep: Callable[[], None]
) -> None:
    kept = stored(orm())
    sweep()
    kept.refresh_from_db()
    assert kept.status == "received"  # its listener may still be at it
    InboundMessage.objects.update(received_at=kept.received_at - 2 * tasks.STRANDED_AFTER)
    sweep()
    kept.refresh_from_db()
    assert kept.status == "processed"
    assert Order.objects.count() == 1


def test_a_paused_sender_is_told_to_come_again_later(line: Line, anybody: Endpoint) -> None:
    actions.pause_endpoint(anybody, by=person("ada"))
    message = orm()
    refusal = line.send(message)
    assert (refusal.code, refusal.error) == ("AR", "207")
    actions.resume_endpoint(anybody, by=person("ada"))
    assert line.send(message).code == "AA"
