"""Where a thread runs."""

import itertools
import os

_FEW = 4  # processors; with more of them there is an idle one to wake on
_turn = itertools.count(os.getpid())


def pin_to_one_cpu() -> None:
    """Let the calling thread run on one processor alone, where there are few; threads that it starts inherit that.

    Linux wakes a thread where its waker runs. Of two busy threads that wake each other all the time, as decoding and encoding do, it
    so puts both on one processor and leaves another idle: on two processors a replay lost a fifth of its speed.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    if 2 <= len(allowed) <= _FEW:
        os.sched_setaffinity(0, {allowed[next(_turn) % len(allowed)]})
