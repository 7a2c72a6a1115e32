"""Splits a sequence of jobs into batches. Pure."""

from collections.abc import Sequence


def consecutive(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges [first, end) of neighbours whose padded size (longest times count) is at most `most`. A range holds at least one item."""
    runs: list[tuple[int, int]] = []
    first = 0
    for place in range(1, len(sizes) + 1):
        if place == len(sizes) or max(sizes[first : place + 1]) * (place + 1 - first) > most:
            runs.append((first, place))
            first = place
    return runs if sizes else []
