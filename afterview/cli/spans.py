"""The span of a question from the texts that say when it begins and ends."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from afterview.cli.arguments import newest_frame, positive_duration, require_order, require_past
from afterview.configs import UsageError
from afterview.memory.base.typed_times import agreed_time

if TYPE_CHECKING:
    from afterview.memory.reading.reader import CameraReader

Span = tuple[float | None, float | None, float | None]


def question_span(
    start: str | None, at: str | None, last: str | None, cameras: "Sequence[CameraReader]", now: float | None = None
) -> Span:
    """start, at and last_s of a Question, from what --from, --at and --last say. now: Unix seconds.

    Raises UsageError: for a time that the cameras, in whose zones it counts, do not agree on; one in the future; a span that ends first.
    """
    if start and last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    now = time.time() if now is None else now
    zones = [reader.info.timezone for reader in cameras]
    first, end = (agreed_time(text, zones, now=now) if text else None for text in (start, at))
    for option, text, moment in (("--from", start, first), ("--at", at, end)):
        if text and moment is not None:
            require_past(option, text, moment, now, lambda: newest_frame(cameras))
    require_order(first, end, said=f"--from {start} --at {at}")
    return first, end, positive_duration("--last", last) if last else None
