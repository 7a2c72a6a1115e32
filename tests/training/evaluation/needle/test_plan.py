"""Which needles are asked where, and where they are put."""

import pytest

from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.needle.plan import Cell, NeedleTest, Way, places

BOUNDED, FULL = Way("bounded", "interpolate"), Way("full", "interpolate")


def test_a_single_needle_is_inserted_at_the_published_place() -> None:
    assert places(Cell("single", BOUNDED, 1000, depth=0.0), 1) == [0]
    assert places(Cell("single", BOUNDED, 1000, depth=0.2), 1) == [200]
    assert places(Cell("single", BOUNDED, 1000, depth=1.0), 1) == [1000]


def test_chains_are_spaced_evenly_from_before_the_first_frame_to_after_the_last() -> None:
    assert places(Cell("multi", BOUNDED, 1000, hops=1), 5) == [0, 250, 500, 750, 1000]
    assert places(Cell("multi", BOUNDED, 1000, hops=3), 7) == [0, 167, 333, 500, 667, 833, 1000]


def test_full_recall_is_asked_of_three_lengths_with_five_needles_a_cell_and_never_at_100_000() -> None:
    test = NeedleTest(recall=("bounded", "full"), tasks=("single",))
    cells = list(test.cells())
    assert sorted({cell.frames for cell in cells if cell.way == FULL}) == [1000, 5000, 10_000]
    assert sorted({cell.frames for cell in cells if cell.way == BOUNDED}) == [*range(1000, 10_001, 1000), 100_000]
    assert test.left_out == [2000, 3000, 4000, 6000, 7000, 8000, 9000, 100_000]
    assert {test.count(cell) for cell in cells if cell.way == FULL} == {5}
    assert {test.count(cell) for cell in cells if cell.way == BOUNDED} == {20}
    assert len([cell for cell in cells if cell.way == BOUNDED and cell.frames <= 10_000]) == 60


def test_published_numbers_of_chains() -> None:
    test = NeedleTest(tasks=("multi",), lengths=(1000,))
    assert [(cell.hops, test.count(cell)) for cell in test.cells()] == [(1, 31), (2, 28), (3, 41)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lengths": (10,)}, "--frames 10"),
        ({"lengths": (10**9,)}, "--frames 1000000000"),
        ({"depths": (1.5,)}, "--depths 1.5"),
        ({"hops": (4,)}, "--hops 4"),
        ({"items": 0}, "--items 0"),
        ({"multi": 10**6}, "--multi-items 1000000"),
        ({"bank": 1}, "--bank 1"),
        ({"seed": 2**32}, "--seed 4294967296"),
        ({"recall": ("full",), "lengths": (2000,)}, "full recall"),
        ({"depths": (0.5, 0.50)}, "--depths 0.5: stands there twice"),
        ({"depths": (0.1234567, 0.1234568)}, "--depths 0.123457: stands there twice"),
        ({"hops": (1, 1)}, "--hops 1: stands there twice"),
        ({"lengths": (200, 200)}, "--frames 200: stands there twice"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_option(changes: dict[str, object], named: str) -> None:
    with pytest.raises(BenchmarkError, match=named):
        NeedleTest(**changes)  # type: ignore[arg-type]
