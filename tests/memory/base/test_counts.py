"""Numbers of things as people read them."""

from afterview.memory.base.counts import counted, were


def test_one_is_singular() -> None:
    assert [f"{counted(number, 'frame')} {were(number)}" for number in (0, 1, 2)] == [
        "0 frames were",
        "1 frame was",
        "2 frames were",
    ]
