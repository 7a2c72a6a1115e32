"""A folder of still pictures in order of time. Opens every picture once for its EXIF data, and decodes nothing."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import tzinfo

from afterview.configs import UsageError
from afterview.stream.errors import NotAVideo
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.clocks.reference_clock import DAY_S, EARLIEST
from afterview.stream.source.recordings.archive import ArchivedFile, Dating, dated, no_date
from afterview.stream.source.recordings.name_dates import NamedTime
from afterview.stream.source.recordings.stills import DatedPicture, time_in_picture

_AFTER_S = 0.003  # seconds that a folder counts as lasting after its last picture: more than the sampler's tolerance


def look_at_pictures(
    addresses: Sequence[SourceAddress],
    *,
    zone: tzinfo,
    dating: Dating = "auto",
    start: float | None = None,
    interval_s: float | None = None,
    now: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[ArchivedFile]:
    """Each picture with its time, in order of time. EXIF times without an offset are local times of the camera.

    start: Unix seconds of the first picture; each other one follows `interval_s` seconds after the one before, in the order given. The
    other arguments are those of look_at. Raises UsageError for pictures that nothing dates.
    """
    if start is not None:
        if interval_s is None and len(addresses) > 1:
            raise UsageError(
                "--start with pictures: give --interval too, the time from one picture to the next, e.g. --interval 10s"
            )
        step = interval_s or 0.0
        return [ArchivedFile(address, start + number * step, "given") for number, address in enumerate(addresses)]
    files = []
    for number, address in enumerate(addresses):
        report(number, len(addresses))
        files.append(_look(address, zone, dating, now))
    undated = [file for file in files if file.start is None]
    if undated and len(addresses) == 1:
        raise NotAVideo(
            f"{addresses[0].redacted}: is a still picture, not a video, and nothing says when it was taken; give --start TIME"
        )
    if undated:
        raise UsageError(no_date(undated, len(files), dating, option="--start TIME and --interval 10s"))
    return sorted(files, key=lambda file: file.start or 0.0)


def _look(address: SourceAddress, zone: tzinfo, dating: Dating, now: float) -> ArchivedFile:
    taken = time_in_picture(address.url) if dating in ("auto", "stated") else None
    ways = () if taken is None else NamedTime(taken.replace(tzinfo=None), taken.tzinfo).unix(zone)
    stated = tuple(way for way in ways if EARLIEST < way < now + DAY_S)
    file = ArchivedFile(address, None, "none")
    return dated(file, stated, zone=zone, dating=dating, written=os.stat(address.url).st_mtime, now=now)


def joined(files: Sequence[ArchivedFile], shown: SourceAddress) -> ArchivedFile:
    """The pictures as one recording. shown: what they are called together."""
    pictures = tuple(DatedPicture(file.address.url, file.start or 0.0) for file in files)
    first = files[0]
    length_s = pictures[-1].time - pictures[0].time + _AFTER_S
    return replace(
        first, address=shown, length_s=length_s, conflict_s=0.0, unsure=False, forced=True, pictures=pictures
    )
