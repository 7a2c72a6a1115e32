"""The times of one picture on its way through the decoder."""

from typing import NamedTuple


class Moment(NamedTuple):
    """The times of a picture: see Frame."""

    pts_s: float | None
    arrival_time: float
    source_time: float | None
    reached_s: float | None
    clock_problem: str
    old: bool  # see SegmentWatch
