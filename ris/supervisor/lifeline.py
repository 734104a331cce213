"""Children that die with their parent, whatever killed it (Linux PR_SET_PDEATHSIG)."""

import ctypes
import os
import signal
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent(death: signal.Signals = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to send `death` to this process when its parent ends.

    The kernel watches the *thread* that forked: fork from the main thread only.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # the parent ended before the kernel was asked


def lifeline(death: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` that ties the new process to this one."""
    parent = os.getpid()
    return lambda: die_with_parent(death, parent)
