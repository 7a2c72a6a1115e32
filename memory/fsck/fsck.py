"""`fsck`: check a camera, and repair what can be repaired. Beside a running writer it only checks."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from afterview.memory.base.camera_names import find_cameras
from afterview.memory.base.documents import exists
from afterview.memory.base.durable import PARTIAL
from afterview.memory.base.errors import RepositoryError, StoreError, UnreachableFrames, in_words
from afterview.memory.base.held_directory import hold, place_of
from afterview.memory.base.lock import CameraLock, is_held
from afterview.memory.base.moved import require_in_place
from afterview.memory.format.in_place import finish_overwriting
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import frames_remote
from afterview.memory.fsck.checks import check_camera
from afterview.memory.fsck.findings import Finding
from afterview.memory.fsck.refused import refused_paths
from afterview.memory.index.files import drop_files, index_lock
from afterview.memory.reading.reader import CameraReader

_MARKS = ("camera.json", "committed", "journal")
_PASSES = 6  # the files that say how to read others are repaired first, so later passes find more
_ATTEMPTS = 3  # a writer changes files while they are being checked


@dataclass
class Report:
    """The findings of one camera. repaired: findings that were repaired, with the result."""

    camera: Path
    frames: int
    findings: list[Finding] = field(default_factory=list)
    repaired: list[tuple[Finding, str]] = field(default_factory=list)

    @property
    def damage(self) -> list[Finding]:
        """What is wrong and was not repaired."""
        return [finding for finding in self.findings if finding.severity == "damage"]

    @property
    def unchecked(self) -> list[Finding]:
        """What could not be checked, because the store cannot be used or the system refuses to read it."""
        return [finding for finding in self.findings if finding.severity == "unchecked"]

    @property
    def clean(self) -> bool:
        """Whether everything was checked and nothing is wrong."""
        return not self.damage and not self.unchecked

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        memory = self.camera.parent
        return {
            "camera": self.camera.name,
            "id": self.camera.name,
            "frames": self.frames,
            "clean": self.clean,
            "findings": [finding.to_dict(memory) for finding in self.findings],
            "repaired": [{**finding.to_dict(memory), "result": result} for finding, result in self.repaired],
        }


def camera_directories(memory: Path) -> list[Path]:
    """Directories of cameras, including those that lost their `camera.json` or cannot be read. Raises MemoryNotFound, Unreadable."""
    found = find_cameras(memory)
    started = [name for name in os.listdir(memory) if any(os.path.lexists(memory / name / mark) for mark in _MARKS)]
    return sorted(memory / name for name in {*found, *started})


def fsck(
    camera: Path, *, repair: bool = False, deep: bool = False, progress: Callable[[str], None] = lambda text: None
) -> Report:
    """Check one camera; with `repair`, repair what can be repaired. Raises CameraBusy if `repair` meets a writer, CameraMoved, OSError.

    Where the system refuses to read something, it is reported as unchecked, and nothing of the camera is repaired.
    deep: remote-only chunks are read, not only listed.
    """
    held = hold(camera)  # one directory is checked and repaired, whatever happens to its name
    report, camera = Report(held.place, 0), held.path
    refused = list(refused_paths(camera))
    if refused:  # never repaired: what cannot be read would be recorded as lost
        found = check_camera(camera, deep=deep) if os.access(camera, os.R_OK | os.X_OK) else []
        known = {finding.where for finding in refused}
        rest = [replace(finding, fix=None) for finding in found if finding.where not in known]
        report.frames, report.findings = _frames(camera), [_named(finding) for finding in (*refused, *rest)]
        require_in_place(camera)
        return report
    if not repair:
        report.frames, report.findings = _frames(camera), _check_beside_writer(camera, deep=deep)
        report.findings = [_named(finding) for finding in report.findings]
        require_in_place(camera)
        return report
    with CameraLock(camera / "lock", camera=camera.name):
        finish_overwriting(camera)
        for _ in range(_PASSES):
            require_in_place(camera)
            report.findings = [*check_camera(camera, deep=deep), *_check_index(camera, deep=deep)]
            fixable = [finding for finding in report.findings if finding.fix]
            if not fixable:
                break
            for finding in fixable:
                progress(f"{camera.name}: {finding.what}")
                assert finding.fix is not None, "only fixable findings are here"
                try:
                    report.repaired.append((finding, finding.fix()))
                except FileExistsError as error:  # a file where a directory was
                    progress(
                        f"{camera.name}: {place_of(Path(error.filename))} is in the way; move it away and run this again"
                    )
                except (RepositoryError, OSError) as error:
                    progress(f"{camera.name}: {in_words(error)}")
        report.frames = _frames(camera)
        require_in_place(camera)
    report.findings = [_named(finding) for finding in report.findings]
    report.repaired = [(_named(finding), result) for finding, result in report.repaired]
    return report


def _named(finding: Finding) -> Finding:
    """With its path as people know it."""
    return replace(finding, where=place_of(finding.where))


def _check_beside_writer(camera: Path, *, deep: bool) -> list[Finding]:
    """Findings that persist: a writer seals and evicts meanwhile."""
    findings: list[Finding] = []
    for _ in range(_ATTEMPTS):
        before = _state(camera)
        findings = [*check_camera(camera, deep=deep), *_check_index(camera, deep=deep)]
        if not findings or _state(camera) == before:
            break
    live = is_held(camera / "lock")
    return [finding for finding in findings if not (live and finding.where.name.endswith(PARTIAL))]


def _state(camera: Path) -> object:
    try:
        manifest = Manifest.read(camera)
        return manifest, (camera / journal_name(manifest.generation)).stat().st_ino
    except (RepositoryError, OSError):
        return None


def _check_index(camera: Path, *, deep: bool) -> list[Finding]:
    directory = camera / "index"
    try:
        if not exists(directory / "about.json"):
            return []
        snapshot = CameraReader(camera).snapshot()
        if not deep:
            snapshot = snapshot.within_reach(frames_remote(camera, snapshot.generation))
    except RepositoryError:
        return []  # the checks above report it
    from afterview.memory.index.frame_index import (  # loads faiss: only where there is an index to compare
        differences,
        is_stale,
    )

    def fix() -> str:
        with index_lock(directory):
            (directory / "about.json").unlink(missing_ok=True)
            dropped = drop_files(directory, keep=set())
        return f"{dropped} files deleted; the next question rebuilds the index"

    if is_stale(directory, snapshot):
        what = "was built from another generation, or before frames were forgotten; the next question rebuilds it"
        return [Finding(directory, what, severity="note", fix=fix)]
    try:
        return [Finding(directory, what, fix=fix) for what in differences(directory, snapshot)]
    except (StoreError, UnreachableFrames):
        return []  # the checks above report it


def _frames(camera: Path) -> int:
    try:
        return CameraReader(camera).snapshot().frames
    except (RepositoryError, OSError):
        return 0
