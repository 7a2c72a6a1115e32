"""Whether the files of a model that is here are whole, and what removing it frees. Reads and deletes local files only."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afterview.configs import preset_names
from afterview.memory.base.lock import file_lock
from afterview.model.base.errors import PullFailed
from afterview.model.checkpoint.preset import ModelPreset, find_preset
from afterview.model.download.cache import INCOMPLETE, CachedModel, cache_directory
from afterview.model.download.needed import NeededModel, lacking, needed_models, with_base
from afterview.model.download.own_presets import own_presets
from afterview.model.download.transfer import matches

State = Literal["ok", "missing", "damaged", "unchecked"]
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class CheckedFile:
    """A file of a model, and what was found. detail: for people, what is wrong or why it could not be checked."""

    repo: str
    name: str
    bytes: int
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Removal:
    """Models of the hub to remove from this disk, with the bytes that this frees. kept: others that a preset here still needs."""

    models: tuple[tuple[str, int], ...]
    kept: tuple[tuple[str, str], ...]

    @property
    def bytes(self) -> int:
        """That are freed."""
        return sum(size for _, size in self.models)


def models_of(preset: ModelPreset) -> list[NeededModel]:
    """The models of the hub that a preset needs, with the base of an adapter that is here."""
    found = needed_models(preset)
    for needed in found:
        if needed.part == "checkpoint" and preset.adapter is None:
            found += with_base(CachedModel(needed.name, cache_directory()), found)
    return found


def check(preset: ModelPreset, *, report: Callable[[int, int], None] = lambda done, total: None) -> list[CheckedFile]:
    """Check every file of a preset's models against its checksum. report: bytes read, bytes of all."""
    found: list[CheckedFile] = []
    models = [(needed, CachedModel(needed.name, cache_directory())) for needed in models_of(preset)]
    files = [(model.name, name, path) for _, model in models for name, path in sorted(model.files().items())]
    total, done = sum(_size(path) for _, _, path in files), 0
    for repo, name, path in files:
        found.append(_check_file(repo, name, path))
        done += found[-1].bytes
        report(done, total)
    for needed, model in models:
        known = {one.name for one in found if one.repo == needed.name}
        found += [
            CheckedFile(needed.name, name, 0, "missing", "is not here")
            for name in lacking(model, needed.part)
            if name not in known
        ]
    return found


def _check_file(repo: str, name: str, path: Path) -> CheckedFile:
    if not path.exists():
        return CheckedFile(repo, name, 0, "missing", "its bytes are not here")
    size = _size(path)
    checksum = Path(os.readlink(path)).name if path.is_symlink() else ""
    if not _CHECKSUM.fullmatch(checksum):
        return CheckedFile(repo, name, size, "unchecked", "the cache does not say its checksum")
    try:
        if matches(path, checksum):
            return CheckedFile(repo, name, size, "ok")
    except OSError as error:
        return CheckedFile(repo, name, size, "damaged", f"cannot be read: {error.strerror}")
    return CheckedFile(repo, name, size, "damaged", "its bytes have another checksum")


def plan_removal(preset: ModelPreset) -> Removal:
    """What removing a preset's models would free. One stays that another preset needs whose weights are here: a shipped one, or one of the
    user's own that was used on this machine."""
    root = cache_directory()
    users = dict(_users(preset))
    models, kept, seen = [], [], set[str]()
    for needed in models_of(preset):
        model = CachedModel(needed.name, root)
        if model.repo in seen:  # another revision of it: all are removed at once
            continue
        seen.add(model.repo)
        if model.repo in users:
            kept.append((needed.name, users[model.repo]))
        elif model.storage.exists():
            models.append((needed.name, model.bytes()))
    return Removal(tuple(models), tuple(kept))


def remove(removal: Removal) -> None:
    """Delete the models. Raises PullFailed where a pull fetches one of them now; OSError."""
    for repo, _ in removal.models:
        model = CachedModel(repo, cache_directory())
        model.locks.mkdir(parents=True, exist_ok=True)
        try:
            with file_lock(model.locks / "afterview-pull.lock", patience_s=0.5):
                shutil.rmtree(model.storage)
        except TimeoutError:
            raise PullFailed(f"{repo}: a pull fetches it now; end it first") from None
        shutil.rmtree(model.locks, ignore_errors=True)


def _users(preset: ModelPreset) -> Iterator[tuple[str, str]]:
    """Models, without revisions, that other presets need whose own checkpoint is here, and the name of one such preset."""
    shipped = preset_names()
    for other in (*map(find_preset, shipped), *own_presets()):
        if other.reference == preset.reference:
            continue
        needed = models_of(other)
        own = [one for one in needed if one.part != "index encoder"]
        if not own and other.reference in shipped:
            continue  # bundled
        if all(not lacking(CachedModel(one.name, cache_directory()), one.part) for one in own):
            yield from ((one.name.partition("@")[0], other.reference) for one in needed)


def unfinished_bytes(model: CachedModel) -> int:
    """Bytes of an interrupted pull that lie here."""
    return sum(size for path, size in model.blobs() if path.name.endswith(INCOMPLETE))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
