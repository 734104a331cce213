"""Wake-ups: a broker that hangs costs its time-out once, not every verb."""

from typing import Any

import pytest
from kombu.exceptions import OperationalError

from ris.events import wakeups


class Task:
    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.broken = False

    def apply_async(self, args: tuple[int, ...], **_: Any) -> None:
        self.asked.append(args)
        if self.broken:
            raise OperationalError("it hangs")


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "_not_before", 0.0)
    task = Task()
    wakeups.ask(task, 7)
    task.broken = True
    wakeups.ask(task, 8)
    wakeups.ask(task, 9)
    assert task.asked == [(7,), (8,)]
    monkeypatch.setattr(wakeups, "_not_before", 0.0)
    task.broken = False
    wakeups.ask(task, 10)
    assert task.asked == [(7,), (8,), (10,)]
