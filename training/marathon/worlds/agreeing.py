"""What several captioners of synthetic video agree on. Pure; it knows the captions alone."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

_SHORTEST_S: Final = 0.05  # of a moment
Captions = Sequence[Mapping[str, Any]]
Told = tuple[float, float, int]  # from, to, by which captioner


def agreed(captioners: Sequence[Captions], least: int) -> list[dict[str, Any]]:
    """The moments that at least so many captioners tell of in the same words, for as long as they do."""
    told: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for number, captions in enumerate(captioners):
        for moment in (moment for caption in captions for moment in caption["moments"]):
            told[moment["text"], moment["aspect"]].append((moment["start_s"], moment["end_s"], number))
    return [
        {"start_s": start, "end_s": end, "aspect": aspect, "text": text}
        for (text, aspect), spans in told.items()
        for start, end in _while(spans, least)
        if end - start > _SHORTEST_S
    ]


def _while(spans: Sequence[Told], least: int) -> Iterator[tuple[float, float]]:
    """When at least so many captioners tell of it."""
    began: float | None = None
    edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
    for start, end in pairwise(edges):
        enough = len({number for first, last, number in spans if first <= start and end <= last}) >= least
        if enough and began is None:
            began = start
        if not enough and began is not None:
            yield began, start
            began = None
    if began is not None:
        yield began, edges[-1]
