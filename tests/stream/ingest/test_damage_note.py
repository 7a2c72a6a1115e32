"""What is said of pictures that arrive damaged."""

from afterview.stream.ingest.damage_note import DamageNote
from afterview.stream.ingest.status import IngestStats


def test_it_is_said_when_damage_begins_and_when_pictures_are_whole_again() -> None:
    said: list[tuple[float, str]] = []
    now = 0.0
    stats = IngestStats(on_change=lambda: said.append((now, stats.detail)))
    note = DamageNote(stats)
    for second, damaged in (
        (0, False),
        (1, True),
        (2, True),
        (20, False),
        (31, False),
        (32, False),
        (33, False),
        (40, True),
    ):
        now = 1000.0 + second
        note.picture(now, damaged=damaged)
    assert [(at - 1000, text.split(":")[0]) for at, text in said] == [
        (1, "pictures are damaged"),
        (32, "pictures are whole again"),
        (40, "pictures are damaged"),
    ]
