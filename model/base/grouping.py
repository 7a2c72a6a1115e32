"""Which of several pieces of work are worth doing in one batch. Pure."""

from collections.abc import Sequence


def consecutive(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Runs [first, end) of neighbours that, padded to their longest, hold at most `most` together; each run holds at least one."""
    runs: list[tuple[int, int]] = []
    first = 0
    for place in range(1, len(sizes) + 1):
        if place == len(sizes) or max(sizes[first : place + 1]) * (place + 1 - first) > most:
            runs.append((first, place))
            first = place
    return runs if sizes else []
