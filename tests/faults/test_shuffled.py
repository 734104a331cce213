"""F11: messages that come late, twice or before their time leave what the same messages in order leave,
or a case that a person sees. How many seeds: RIS_FAULT_SEEDS."""

import os

import pytest
from django.db import transaction

from tests.faults import shuffled

SEEDS = int(os.environ.get("RIS_FAULT_SEEDS", "5"))


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("anybody")
@pytest.mark.django_db
def test_a_shuffled_feed_ends_where_the_feed_in_order_does() -> None:
    unexplained = {}
    for seed in range(SEEDS):
        feed = shuffled.feed(seed)
        in_order = _play(feed.messages)
        assert not in_order.waiting, "in order nothing is left for a person"
        late = _play(feed.shuffled())
        if differences := shuffled.unexplained(in_order, late):
            unexplained[seed] = differences
    assert unexplained == {}


def _play(messages: list[str]) -> shuffled.State:
    """Apply the messages to an empty department; what came of it. Nothing of it stays."""
    with transaction.atomic():
        state = shuffled.play(messages)
        transaction.set_rollback(True)
    return state


def test_a_difference_that_waits_for_nobody_is_found_out() -> None:
    """Positive control."""
    person, order = frozenset({"0P1"}), (frozenset({"0P1"}), "requested", "R")
    in_order = shuffled.State({"0P1": (person, "1 NEW ST")}, {"0O1": order}, [])
    assert shuffled.unexplained(in_order, in_order) == []
    late = shuffled.State({"0P1": (person, "1 FIRST ST")}, {"0O1": (*order[:1], "cancelled", "R")}, [])
    assert len(shuffled.unexplained(in_order, late)) == 2
    late.waiting = ["ORC|CA|0O1^EMR"]
    assert len(shuffled.unexplained(in_order, late)) == 1
