"""Which processors a thread runs on."""

import itertools
import os

_FEW = 4  # processors; with more, there is usually an idle one
_turn = itertools.count(os.getpid())


def pin_to_one_cpu() -> None:
    """Restrict the calling thread to one processor if there are few; threads that it starts inherit that.

    Linux wakes a thread where its waker runs. Two busy threads that wake each other all the time, as decoding and encoding do, so end up
    on one processor while another is idle: on two processors a replay lost a fifth of its speed.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    if 2 <= len(allowed) <= _FEW:
        os.sched_setaffinity(0, {allowed[next(_turn) % len(allowed)]})
