"""What there is of a camera over a span of time: coverage, gaps with reasons, spans that are no longer remembered, evidence of answers."""

import math
from collections.abc import Sequence
from typing import Any

from afterview.configs import AfterviewError
from afterview.memory.base.iso_times import with_iso
from afterview.memory.base.records import Gap
from afterview.memory.format.answer_files import SavedDirectory
from afterview.memory.plans.removal import touching
from afterview.memory.reading.reader import frames_between, gaps_touching
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.saved_answers import open_saved

NEWEST_ANSWERS = 100  # whose evidence is shown


def timeline(
    snapshot: MemorySnapshot, start: float | None, end: float | None, most: int, evidence: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The timeline of [start, end], newest entries first kept: at most `most` of each kind; `left_out` says how many were not shown."""
    first, stop = frames_between(snapshot.times, start, end)
    low = start if start is not None else float(snapshot.times[0]) if snapshot.frames else 0.0
    high = end if end is not None else float(snapshot.times[-1]) if snapshot.frames else low
    gaps = gaps_touching(snapshot, low, max(high, low) if end is not None else math.inf)
    coverage = _coverage(snapshot, first, stop, gaps)
    removed = [gone.to_dict() for gone in touching(snapshot.removed, low, high)]
    own = [one for one in evidence if one["camera"] == snapshot.info.id and low <= one["time"] <= high]
    lists: dict[str, list[dict[str, Any]]] = {
        "coverage": coverage,
        "gaps": [gap.to_dict() for gap in gaps],
        "no_longer_remembered": removed,
        "evidence": own,
    }
    document = {
        "camera": snapshot.info.id,
        "name": snapshot.info.name,
        "timezone": snapshot.info.timezone,
        "frames": stop - first,
        "first_time": float(snapshot.times[first]) if stop > first else None,
        "last_time": float(snapshot.times[stop - 1]) if stop > first else None,
        **{name: found[-most:] for name, found in lists.items()},
        "left_out": {name: max(0, len(found) - most) for name, found in lists.items()},
    }
    return dict(with_iso(document, {}, snapshot.info))


def _coverage(snapshot: MemorySnapshot, first: int, stop: int, gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """Spans with frames: the frames between two gaps. Pure."""
    spans = []
    begin = first
    ends = [frames_between(snapshot.times, None, gap.start)[1] for gap in gaps]
    for row in [*sorted(row for row in ends if first < row < stop), stop]:
        if row > begin:
            spans.append(
                {
                    "start": float(snapshot.times[begin]),
                    "end": float(snapshot.times[row - 1]),
                    "frames": row - begin,
                }
            )
            begin = row
    return spans


def evidence_of_answers(answers: Sequence[SavedDirectory]) -> list[dict[str, Any]]:
    """The evidence frames of the newest of some saved answers, newest first, in order of time."""
    found = []
    for saved in answers[:NEWEST_ANSWERS]:
        try:
            record, _ = open_saved(saved.path, images=False)
        except AfterviewError:
            continue  # only images are left, or it is damaged: `afterview answers` says so
        if isinstance(record, AnswerRecord):
            found += [
                {"answer": record.about.id, "camera": item.camera, "frame": item.frame, "time": item.time,
                 "weight": round(item.weight, 6)}
                for item in record.answer.evidence
            ]  # fmt: skip
    return sorted(found, key=lambda item: item["time"])
