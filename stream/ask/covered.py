"""What an answer could know of a camera: its span, what is missing in it, and how old its newest frame is."""

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.removal import touching
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.question import Coverage, Question, Search
from afterview.stream.ask.span import span_gaps, span_start


def coverage_of(
    snapshot: MemorySnapshot,
    ids: NDArray[np.int64],
    question: Question,
    now: float,
    *,
    recall: str,
    search: Search,
    positions: str,
    recalled: int,
    visible: int,
    left_out: int = 0,
) -> Coverage:
    """ids: frames of the span. left_out: frames of it in no whole clip. The rest is as Coverage has it."""
    first_time, last_time = snapshot.time_of(int(ids[0])), snapshot.time_of(int(ids[-1]))
    moment = now if question.at is None else question.at
    start = (
        first_time if question.start is None and question.last_s is None else min(first_time, span_start(question, now))
    )
    return Coverage(
        camera=snapshot.info.id,
        frames=len(ids),
        first_time=first_time,
        last_time=last_time,
        gaps=span_gaps(snapshot, start, moment),
        removed=touching(snapshot.removed, start, moment),
        damaged=int(np.count_nonzero((snapshot.damaged >= ids[0]) & (snapshot.damaged <= ids[-1]))),
        unreachable=len(snapshot.unreachable),
        unreachable_why=snapshot.unreachable_why,
        lag_s=max(0.0, moment - last_time),
        time_basis=snapshot.time_bases(ids),
        recall=recall,
        search=search,
        positions=positions,
        recalled=recalled,
        visible=visible,
        in_no_whole_clip=left_out,
    )
