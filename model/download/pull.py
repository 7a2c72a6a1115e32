"""Fetches what a preset needs: `plan` asks the hub, `pull` transfers. A model becomes visible in the cache once all its files are whole."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from afterview.configs.system_errors import describe
from afterview.memory.base.durable import DISK_FULL, write_file
from afterview.memory.base.lock import file_lock
from afterview.model.base.checkpoint_files import CONFIG_FILE, WEIGHTS
from afterview.model.base.errors import PullFailed
from afterview.model.checkpoint.pair import DECODER, ENCODER, require_part
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.download.cache import INCOMPLETE, CachedModel, cache_directory
from afterview.model.download.listing import Listing, RemoteFile, list_model, read_small, without_text_shards
from afterview.model.download.needed import (
    NeededModel,
    needed_models,
    optional_files,
    shards_of,
    wanted_files,
    with_base,
)
from afterview.model.download.transfer import Patience, fetch

_SMALL_BYTES = 1 << 20
SPARE_BYTES = 64 << 20  # that a disk keeps beside the files
_LOGGER = logging.getLogger(__name__)

Report = Callable[[int, int], None]  # bytes that are here, bytes of all files


@dataclass(frozen=True)
class PlannedModel:
    """A model to fetch. missing: bytes that are not here yet."""

    needed: NeededModel
    listing: Listing
    files: tuple[RemoteFile, ...]
    missing: int

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class PulledModel:
    """A model that is here now. bytes: of all its files, all of which have the right checksum."""

    repo: str
    part: str
    commit: str
    files: int
    bytes: int


def plan(preset: ModelPreset, *, index: str | None = None, revision: str | None = None) -> list[PlannedModel]:
    """What a pull of a preset will fetch. revision: of its checkpoint; the others come as they are now.

    Raises HubUnreachable, PullFailed.
    """
    needed = needed_models(preset, index)
    if revision is not None:
        needed = [
            replace(one, name=f"{one.name.partition('@')[0]}@{revision}") if one.part == "checkpoint" else one
            for one in needed
        ]
    return [plan_model(one) for one in needed]


def plan_model(needed: NeededModel) -> PlannedModel:
    """What a pull of one model will fetch. Raises HubUnreachable, PullFailed, and CheckpointError for a part that is of a wrong kind."""
    model = CachedModel(needed.name, cache_directory())
    listing = list_model(model.repo, model.revision)
    names = wanted_files(listing.files, needed.part)
    if needed.part in (ENCODER, DECODER) and CONFIG_FILE in names and (config := read_small(listing, CONFIG_FILE)):
        require_part(needed.part, config, name=needed.name)  # before gigabytes are fetched
    if needed.part == ENCODER:
        names = without_text_shards(names, listing)
    weights = [name for name in names if name.endswith((".safetensors", ".bin", ".pt"))]
    if not weights:
        raise PullFailed(
            f"{needed.name}: the hub has no weights of it that can be read here (none of {', '.join(WEIGHTS)} with a size and a checksum)"
        )
    files = tuple(listing.files[name] for name in names)
    return PlannedModel(needed, listing, files, sum(file.size - _here(model, file) for file in files))


def pull(
    plans: Sequence[PlannedModel], *, report: Report = lambda done, total: None, patience: Patience | None = None
) -> list[PulledModel]:
    """Fetch all files of the plans. An interrupted pull goes on where it stopped. Raises PullFailed, HubUnreachable."""
    todo, pulled = list(plans), []
    require_room(todo)
    done, total = 0, sum(planned.bytes for planned in todo)

    def add(number: int) -> None:
        nonlocal done
        done += number
        report(done, total)

    for planned in todo:
        pulled.append(_pull_model(planned, add, patience))
        if planned.needed.part == "checkpoint":
            model = CachedModel(planned.needed.name, cache_directory())
            for base in with_base(model, [one.needed for one in todo]):  # an adapter names its base
                todo.append(plan_model(base))
                require_room(todo[-1:])
                total += todo[-1].bytes
    return pulled


def require_room(plans: Sequence[PlannedModel]) -> None:
    """Raise PullFailed if the disk cannot take what is missing."""
    root, missing = cache_directory(), sum(planned.missing for planned in plans)
    there = next(place for place in (root, *root.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if missing and missing + SPARE_BYTES > free:
        raise PullFailed(
            f"{root}: {missing / 1e9:.2f} GB are to be fetched, and its disk has {free / 1e9:.2f} GB free; make room, or set HF_HUB_CACHE "
            "to a directory on another disk"
        )


def other_revisions(pulled: Sequence[PulledModel]) -> list[tuple[str, int]]:
    """Models of which the cache keeps more than what was pulled, and the bytes of that."""
    kept = [(one.repo, CachedModel(one.repo, cache_directory()).bytes() - one.bytes) for one in pulled]
    return [(name, size) for name, size in kept if size > _SMALL_BYTES]


def _pull_model(planned: PlannedModel, add: Callable[[int], None], patience: Patience | None) -> PulledModel:
    needed, listing = planned.needed, planned.listing
    model = CachedModel(needed.name, cache_directory())
    with _alone(model), _writable(model):
        blobs = {}
        for file in sorted(planned.files, key=lambda file: file.size):  # what is refused is refused early
            blobs[file.name] = fetch(model, file, _url(planned, file), report=add, patience=patience)
        for file in _unplanned_shards(planned, blobs):
            blobs[file.name] = fetch(model, file, _url(planned, file), report=add, patience=patience)
        _show(model, planned, blobs)
    return PulledModel(
        needed.name, needed.part, listing.commit, len(blobs), sum(listing.files[name].size for name in blobs)
    )


def _url(planned: PlannedModel, file: RemoteFile) -> str:
    return planned.listing.url(file.name)


def _unplanned_shards(planned: PlannedModel, blobs: dict[str, Path]) -> Iterator[RemoteFile]:
    """Shards that the index names and that have names of their own. Raises PullFailed for one that the hub does not have."""
    for name in [name for name in blobs if name.endswith(".index.json")]:
        shards = shards_of(blobs[name], planned.needed.part)
        if shards is None:
            raise PullFailed(f"{planned.needed.name}: {name} names no shards; the model is damaged on the hub, too")
        for shard in shards:
            if shard in blobs:
                continue
            if shard not in planned.listing.files:
                raise PullFailed(
                    f"{planned.needed.name}: {name} names {shard}, which the hub does not have; try again later"
                )
            yield planned.listing.files[shard]


def _show(model: CachedModel, planned: PlannedModel, blobs: dict[str, Path]) -> None:
    """Make the files visible under their names, then the revision: before that nothing of it can be loaded by halves."""
    commit = planned.listing.commit
    top = model.storage / "snapshots" / commit
    for name, blob in blobs.items():
        link = top / name
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, link.parent)
        if link.is_symlink() and os.readlink(link) == target:
            continue
        temporary = link.with_name(f".{link.name}.{os.getpid()}{INCOMPLETE}")
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(target)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            os.link(blob, temporary)  # a file system without links of this kind
        os.replace(temporary, link)
    for name in optional_files(planned.needed.part):
        if name not in planned.listing.files:  # so that without a network nobody asks the hub for it
            mark = model.storage / ".no_exist" / commit / name
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    if model.revision != commit:
        reference = model.storage / "refs" / model.revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_file(reference, commit.encode())


def _here(model: CachedModel, file: RemoteFile) -> int:
    """How many bytes of a file are here, whole or not."""
    blob = model.storage / "blobs" / file.checksum
    for path in (blob, blob.with_name(f"{blob.name}{INCOMPLETE}")):
        if path.exists():
            return min(path.stat().st_size, file.size)
    return 0


@contextmanager
def _alone(model: CachedModel) -> Iterator[None]:
    model.locks.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(model.locks / "afterview-pull.lock", patience_s=0.5):
            yield
    except TimeoutError:
        raise PullFailed(f"{model.repo}: another pull fetches it now; wait for it, or end it") from None


@contextmanager
def _writable(model: CachedModel) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PullFailed(f"{describe(error, action='written')}; HF_HUB_CACHE names another place for models") from None
