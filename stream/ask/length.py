"""How long a span of a memory is, as the prompt states it."""

from afterview.configs import AfterviewError
from afterview.memory.base.settings import read_settings
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot


def span_seconds(reader: CameraReader, snapshot: MemorySnapshot, first: int, end: int) -> float:
    """Seconds of the frames [first, end) of a snapshot: to the end of the last frame's second, as a recording of the span would last.

    The last frame of a short recording, which has several frames per second, lasts as long as it was shown.
    """
    last_s, last = 1 / snapshot.info.fps, float(snapshot.times[end - 1])
    if end - first < 2 or last - float(snapshot.times[end - 2]) < last_s:  # else there is nothing to look up
        last_s = next((shown_s for start, stop, shown_s in _dense(reader) if start <= last <= stop + 1e-3), last_s)
    return round(last - float(snapshot.times[first]) + last_s, 3)


def _dense(reader: CameraReader) -> tuple[tuple[float, float, float], ...]:
    try:
        return read_settings(reader.directory).dense
    except (AfterviewError, OSError):  # `afterview info` and `fsck` report it
        return ()
