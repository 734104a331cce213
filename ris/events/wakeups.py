"""Asking a worker to look at rows now. Worth a moment and no more: the sweeps find what was not asked for."""

import logging
import time
from typing import Any

from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

#: Seconds for which a broker that did not answer is left alone. One that hangs would else hold up every verb
#: for the length of its time-out.
LEFT_ALONE = 30.0
_not_before = 0.0


def ask(task: Any, *arguments: int) -> None:
    """Have `task` run, if the broker answers."""
    global _not_before
    if time.monotonic() < _not_before:
        return
    try:
        task.apply_async(args=arguments, retry=False)
    except (OperationalError, OSError):
        _not_before = time.monotonic() + LEFT_ALONE
        log.warning("the broker does not answer; the sweeps do its work")
