"""A fact is heard once by everyone, in the order of its subject, whatever fails."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from ris.events import outbox
from ris.events.models import Delivery, Event
from tests.cast import person


@pytest.fixture
def heard() -> Iterator[dict[str, list[int]]]:
    """A subscriber that fails every tenth time and notes what it hears, in the database's order."""
    notes: dict[str, list[int]] = defaultdict(list)
    random.seed(7)

    def reaction(event: Event) -> None:
        if random.random() < 0.1:
            raise RuntimeError("not now")
        notes[event.subject].append(event.facts["number"])

    outbox.subscriber("test.listener", "test.happened")(reaction)
    yield notes
    del outbox._subscribers["test.listener"]


@pytest.mark.django_db
def test_a_fact_needs_an_open_transaction(transactional_db: None) -> None:
    with pytest.raises(AssertionError):
        outbox.record("test.happened", "A1", by=person("clara"))
    assert Event.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_many_relays_hear_each_fact_once_and_in_order(heard: dict[str, list[int]]) -> None:
    clara = person("clara")
    for number in range(30):
        with transaction.atomic():
            for subject in ("A1", "A2", "A3", "A4", "A5"):
                outbox.record("test.happened", subject, by=clara, number=number)

    def relay() -> None:
        for _ in range(300):
            Delivery.objects.filter(done_at=None, attempts__gt=0).update(next_attempt_at="2000-01-01T00:00Z")
            if not outbox.relay_one():
                break
        connection.close()

    threads = [threading.Thread(target=relay) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    relay()
    assert not Delivery.objects.filter(done_at=None).exists()
    assert heard == {f"A{subject}": list(range(30)) for subject in range(1, 6)}


@pytest.mark.django_db
def test_a_failing_fact_holds_back_its_own_subject_only() -> None:
    seen: list[str] = []

    def reaction(event: Event) -> None:
        if event.facts.get("bad"):
            raise RuntimeError("cannot")
        seen.append(event.subject)

    outbox.subscriber("test.stubborn", "test.told")(reaction)
    try:
        clara = person("clara")
        outbox.record("test.told", "A1", by=clara, bad=True)
        outbox.record("test.told", "A1", by=clara)
        outbox.record("test.told", "A2", by=clara)
        outbox.relay_all()
        assert seen == ["A2"]
        waiting = Delivery.objects.filter(done_at=None).order_by("id").first()
        assert waiting is not None
        assert (waiting.attempts, waiting.error) == (1, "RuntimeError: cannot")
    finally:
        del outbox._subscribers["test.stubborn"]


@pytest.mark.django_db
def test_the_relay_finds_its_work_by_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + outbox._NEXT, ["2030-01-01"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "deliveries_open" in plan
    assert "Seq Scan" not in plan
