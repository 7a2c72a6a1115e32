"""Numbers of things as people read them."""

from afterview.memory.base.counts import counted, spell_bytes, were


def test_one_is_singular() -> None:
    assert [f"{counted(number, 'frame')} {were(number)}" for number in (0, 1, 2)] == [
        "0 frames were",
        "1 frame was",
        "2 frames were",
    ]


def test_bytes_have_a_unit_of_their_size() -> None:
    shown = [spell_bytes(number) for number in (0, 454_321, 999_600, 11_372_831, 3.18e9, 2.4e12)]
    assert shown == ["0 kB", "454 kB", "1 MB", "11.4 MB", "3.18 GB", "2400 GB"]
