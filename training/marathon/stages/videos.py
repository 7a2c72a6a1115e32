"""Stages 1 and 2: which videos there are and which are taken, and the clips of each."""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

from afterview.configs import AfterviewError, UsageError, why_unreadable
from afterview.training.base.files import file_identity
from afterview.training.marathon.config import ClipsConfig, MarathonConfig
from afterview.training.marathon.rows import Clip, Split, Video

SUFFIXES = frozenset((".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".ts", ".mts", ".flv", ".mpg", ".mpeg", ".3gp"))


def found_videos(root: Path) -> Iterator[tuple[str, int]]:
    """Path below `root` and size of every video file, in order of the path. Links to directories are not followed."""
    try:
        with os.scandir(root) as entries:
            found = sorted(entries, key=lambda one: f"{one.name}/" if one.is_dir(follow_symlinks=False) else one.name)
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({why_unreadable(error)})") from None
    for one in found:
        if one.is_dir(follow_symlinks=False):
            yield from ((f"{one.name}/{name}", size) for name, size in found_videos(root / one.name))
        elif Path(one.name).suffix.lower() in SUFFIXES and not one.name.startswith(".") and one.is_file():
            yield one.name, one.stat().st_size


def listing_hash(root: Path) -> tuple[str, int]:
    """A hash of all names and sizes, and how many there are. Holds none of them."""
    made, count = hashlib.sha256(), 0
    for name, size in found_videos(root):
        made.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        count += 1
    return made.hexdigest(), count


def in_files(root: Path, most: int) -> Iterator[list[tuple[str, int]]]:
    """The videos in groups, as the files of a stage hold them."""
    found = found_videos(root)
    while group := list(islice(found, most)):
        yield group


def split_of(video: str, config: MarathonConfig) -> Split:
    """The split of a video: drawn by its name, so that further videos change nothing."""
    drawn = (
        int(hashlib.sha256(f"split {config.seed} {video}".encode(errors="surrogateescape")).hexdigest()[:12], 16)
        / 16**12
    )
    if drawn < config.videos.test:
        return "test"
    return "validation" if drawn < config.videos.test + config.videos.validation else "train"


def look_at(root: Path, name: str, size: int, config: MarathonConfig) -> Video:
    """A video, and why it is left out, if it is."""
    from afterview.stream.source.recordings.pictures_at import recording_facts  # late: it loads PyAV

    row = Video(video=name, bytes=size, split=split_of(name, config))
    if name != name.encode(errors="replace").decode():
        return row.model_copy(
            update={"video": name.encode(errors="replace").decode(), "why": "its name is no UTF-8; rename it"}
        )
    if "#" in name:
        return row.model_copy(update={"why": "its name has a '#', which separates clips; rename it"})
    try:
        facts = recording_facts(root / name)
        identity = file_identity(root / name)
    except (AfterviewError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return row.model_copy(update={"why": f"cannot be read: {(why or '').removeprefix(f'{root / name}: ')}"})
    limits, why = config.videos, ""
    if facts.seconds < limits.least_s:
        why = f"lasts {facts.seconds:.0f} s, less than {limits.least_s:g}"
    elif facts.seconds > limits.most_s:
        why = f"lasts {facts.seconds:.0f} s, more than {limits.most_s:g}"
    return row.model_copy(
        update={
            "identity": identity, "seconds": facts.seconds, "fps": round(facts.fps, 3), "width": facts.width,
            "height": facts.height, "why": why,
        }
    )  # fmt: skip


def clips_of(video: Video, config: ClipsConfig, *, look: int = 0, looks: int = 0) -> list[Clip]:
    """The clips of a video. look: of `looks` further captioners, whose clips begin and end elsewhere."""
    shift = config.seconds * look / (looks + 1)
    edges = [0.0]
    while edges[-1] < video.seconds:
        edges.append(round((shift if len(edges) == 1 and shift else edges[-1] + config.seconds), 3))
    edges[-1] = video.seconds
    if len(edges) > 2 and edges[-1] - edges[-2] < config.seconds / 4:
        del edges[-2]  # a rest too short to describe
    return [
        Clip(
            key=f"{video.video}#{start:g}-{end:g}",
            video=video.video,
            number=number,
            look=look,
            start_s=start,
            end_s=end,
        )
        for number, (start, end) in enumerate(pairwise(edges))
    ]
