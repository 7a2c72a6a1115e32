"""Times as they grow: what is evicted takes no room, and changes nothing of what is remembered."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from afterview.memory.format.times import GrowingTimes
from afterview.memory.plans.removal import Removal


def removal(first: int, end: int) -> Removal:
    return Removal(first, end, 0.0, 0.0, "evicted", 0.0)


@given(
    evicted=st.integers(0, 30),
    seals=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    unsealed=st.integers(0, 9),
    forgotten=st.tuples(st.integers(0, 60), st.integers(1, 9)),
    damaged=st.sets(st.integers(0, 60), max_size=4),
)
def test_what_is_evicted_need_not_be_held(
    evicted: int, seals: list[int], unsealed: int, forgotten: tuple[int, int], damaged: set[int]
) -> None:
    sealed = sum(seals)
    evicted = min(evicted, sealed)
    times = 1e9 + np.arange(sealed + unsealed, dtype=np.float64)
    times[:evicted] = np.nan
    times[[frame for frame in damaged if frame < len(times)]] = np.nan
    removed = [removal(0, evicted)] * bool(evicted)
    start, end = forgotten[0], min(sum(forgotten), len(times))
    if evicted < start < end:
        removed.append(removal(start, end))
    whole, held = GrowingTimes(), GrowingTimes(evicted)
    for growing in (whole, held):
        for until in np.cumsum(seals).tolist():
            growing.seal(times[growing.sealed : max(until, growing.sealed)])
    expected = whole.remembered(times[sealed:].tolist(), removed)
    for mine, other in zip(held.remembered(times[sealed:].tolist(), removed), expected, strict=True):
        np.testing.assert_array_equal(mine, other)
    gone = {frame for one in removed for frame in range(one.first, one.end)} | set(
        np.flatnonzero(np.isnan(times)).tolist()
    )
    assert expected[1].tolist() == [frame for frame in range(len(times)) if frame not in gone]


def test_a_long_evicted_past_takes_no_room() -> None:
    growing = GrowingTimes(10_000_000)
    growing.seal(np.arange(64, dtype=np.float64))
    times, ids, lost = growing.remembered([64.0], [removal(0, 10_000_000)])
    assert times.tolist() == list(range(65))
    assert ids[[0, -1]].tolist() == [10_000_000, 10_000_064]
    assert not len(lost)
    assert times.base is not None
    assert times.base.nbytes < 1e5
