"""What is wrong with a recording, for people: the bank records it, and reports name it."""

from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ingest.status import IngestStats
from afterview.training.data.rows import Rows, spell

_MEANT = ("not recording", "paused")  # gaps that somebody wanted


def damage_of_video(stats: IngestStats, rows: Rows) -> str:
    """Of a recording that was ingested as one video; empty if nothing is known to be wrong.

    A row without a frame of its own is no damage if the picture before it was to be shown so long.
    """
    lacking, words = stats.lacking, []
    broken = stats.damaged or stats.pictures_damaged or lacking.holes or lacking.start_s >= 1
    if rows.missing and broken:
        words.append(spell(rows.missing))
    if lacking.end_s:
        words.append(f"it stops {lacking.end_s:.1f} s before its stated length")
    if lacking.cut:
        words.append(f"it ends within a {lacking.cut}, so it was cut")
    if stats.pictures_damaged:
        words.append(f"{stats.pictures_damaged} of its pictures are damaged")
    if stats.damaged:
        words.append(f"{stats.damaged} damaged packet{'s' * (stats.damaged > 1)} skipped")
    return "; ".join(words)


def damage_of_camera(snapshot: MemorySnapshot) -> str:
    """Of everything that a camera remembers; empty if nothing is known to be wrong."""
    words = []
    gaps = [gap for gap in snapshot.gaps if gap.reason not in _MEANT]
    if gaps:
        first = float(snapshot.times[0])
        words.append(spell([(gap.start - first, gap.end - first) for gap in gaps]))
    if lost := len(snapshot.damaged):
        words.append(f"{lost} of its frames cannot be read")
    if smeared := int(snapshot.pictures_damaged(snapshot.ids).sum()):
        words.append(f"{smeared} of its pictures are damaged")
    return "; ".join(words)
