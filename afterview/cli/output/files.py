"""What became of the files of an archive, for people and as JSON."""

from collections.abc import Sequence
from typing import Any

from afterview.cli.archives import ArchivePlan
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted
from afterview.stream.ingest.archive import FileOutcome, FileState
from afterview.stream.ingest.camera import CameraIngest

_MOST_NAMED = 20  # files that the summary names; --json has all of them
_UNRECORDED = {
    "failed": "not recorded, because they cannot be read",
    "older": "not recorded, because they lie before the newest frame of the camera",
    "unfinished": "still being written; run the command again later",
    "waiting": "not recorded yet, because one before them is still being written",
}


def outcomes_of(archive: ArchivePlan | None, ingest: CameraIngest | None) -> list[FileOutcome]:
    """Of all files: first those that need not be read, or cannot; then the others in order of time."""
    if archive is None:
        return []
    read = ingest.outcomes if ingest is not None else []
    state: FileState = "waiting" if read and read[-1].state == "unfinished" else "interrupted"
    rest = [FileOutcome(file.address.redacted, state, file.start, file.clock) for file in archive.files[len(read) :]]
    return [*archive.outcomes, *read, *rest]


def are_unrecorded(outcomes: Sequence[FileOutcome]) -> bool:
    """Whether a file could not be recorded. One that is still being written is no failure."""
    return any(outcome.state in ("failed", "older") for outcome in outcomes)


def describe_archive(archive: ArchivePlan, ingest: CameraIngest | None, info: CameraInfo) -> dict[str, Any]:
    """The keys of a camera's JSON document about its files."""
    outcomes = outcomes_of(archive, ingest)
    if not outcomes:
        return {}
    files = [
        {**outcome.to_dict(), "start_iso": None if outcome.start is None else info.iso(outcome.start)}
        for outcome in outcomes
    ]
    return {"files": files, "left_out": list(archive.left_out)}


def summarize_files(archive: ArchivePlan | None, ingest: CameraIngest | None) -> list[str]:
    """Lines for people; of a single file only what is missing of it."""
    outcomes = outcomes_of(archive, ingest)
    if archive is None or not outcomes:
        return []
    states = [outcome.state for outcome in outcomes]
    skipped = sum(outcome.skipped for outcome in outcomes if outcome.state != "older")
    parts = [f"{states.count('recorded')} recorded", f"{states.count('present')} in memory already"]
    parts += [
        f"{states.count(state)} {state}"
        for state in ("unfinished", "waiting", "older", "failed", "interrupted")
        if state in states
    ]
    lines = [f"{counted(len(outcomes), 'file')}: {', '.join(parts)}"] if archive.several else []
    if skipped:
        lines.append(f"{counted(skipped, 'frame')} skipped: the memory has them, or others of their time")
    for state, what in _UNRECORDED.items():
        named = [outcome for outcome in outcomes if outcome.state == state]
        if named:
            lines.append(f"{counted(len(named), 'file')} {what}:")
            lines += [
                f"  {outcome.file}" + (f": {outcome.detail}" if state == "failed" else "")
                for outcome in named[:_MOST_NAMED]
            ]
            lines += [f"  ... and {len(named) - _MOST_NAMED} more"] * (len(named) > _MOST_NAMED)
    return lines
