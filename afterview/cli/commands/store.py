"""`afterview store set|status|flush|leave`: the sealed part of a memory on S3-compatible storage."""

import argparse
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from afterview.cli.arguments import memory_path
from afterview.cli.confirm import confirm
from afterview.cli.output.documents import dump, for_programs, print_skipped
from afterview.cli.output.stores import describe_published, describe_store
from afterview.cli.progress import progress
from afterview.configs import ConfigError, ExitStatus, UsageError, load_mapping
from afterview.configs.system_errors import describe
from afterview.memory.base.camera import ANSWERS, SETTINGS
from afterview.memory.base.camera_names import camera_ids
from afterview.memory.base.counts import counted, spell_bytes
from afterview.memory.base.durable import fsync_directory, unlink
from afterview.memory.base.errors import (
    DamagedMemory,
    MemoryNotFound,
    NotWritable,
    RepositoryError,
    StoreError,
    StoreRefused,
    StoreUnreachable,
)
from afterview.memory.directory import EachCamera, Memory
from afterview.memory.format.upload_state import UploadState
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.remote.settings import FILE, StoreSettings, read_store, write_store
from afterview.memory.sync.publish import same_camera
from afterview.memory.sync.restore import restore_camera
from afterview.memory.sync.status import store_status
from afterview.memory.sync.upload import Upload
from afterview.stream.ingest.commands import apply
from afterview.stream.source.address.redact import redact
from afterview.stream.source.backoff import Backoff, BackoffConfig

_LOGGER = logging.getLogger(__name__)

GIVE_UP_S = 60.0  # without an answer; `flush` then reports what is left
_MEASURE_EVERY_S = 1.0  # counting what waits reads the sizes of its files
_Result = TypeVar("_Result")
_PROBE = ".afterview-probe"  # written, read and deleted by `set`


def run(arguments: argparse.Namespace) -> int:
    """Execute the action; without one show the status. Returns 1 if something is left on one side only, or if a camera was left out."""
    memory, action = memory_path(arguments.memory), arguments.action or "status"
    if action == "set" and _names_store(arguments):
        document = _set(memory, arguments)
        said = document.pop("said")
        dump(document, arguments.memory) if arguments.json else print(said)
        return ExitStatus.OK
    _require_memory(memory)
    settings = read_store(memory)
    if settings is None and action not in ("set", "status"):
        raise UsageError(_describe(memory, None))
    act = {"status": _status, "flush": _flush, "leave": _leave}.get(action)
    done: EachCamera[dict[str, Any]] = EachCamera({}, {})
    if act and settings:
        if action == "leave":
            _confirm_leaving(memory, arguments)
        done = _each(memory, lambda reader: {"camera": reader.info.id, **act(reader)})
    documents = list(done.results.values())
    wholes = [document.pop("whole", True) for document in documents]
    whole = all(wholes)
    if action != "status":
        whole = whole and not done.skipped
    if action == "leave" and whole:
        _end(memory, list(done.results), delete=arguments.delete)
    _show(arguments, settings, done, documents)
    return ExitStatus.OK if whole else ExitStatus.FAILURE


def _describe(memory: Path, settings: StoreSettings | None) -> str:
    """The settings, for people."""
    if settings is None:
        return f"{memory}: has no store; `afterview store set s3://bucket/prefix --memory {memory}` names one"
    endpoint = f" at {settings.endpoint}" if settings.endpoint else ""
    region = f", region {settings.region}" if settings.region else ""
    return (
        f"{memory}: sealed chunks go to {settings.url}{endpoint}{region}; the newest {settings.local_gigabytes:g} GB of "
        "each camera also stay local"
    )


def _show(
    arguments: argparse.Namespace,
    settings: StoreSettings | None,
    done: EachCamera[dict[str, Any]],
    documents: list[dict[str, Any]],
) -> None:
    if arguments.json:
        memory = Memory(Path(arguments.memory)) if documents else None
        infos = [memory.camera(name).info for name in done.results] if memory else []
        store = settings and settings.model_dump()
        document = {"store": store, "cameras": for_programs(documents), "skipped": done.skipped}
        dump(document, arguments.memory, infos)
        return
    if (arguments.action or "status") in ("set", "status"):
        print(_describe(Path(arguments.memory), settings))
    for line in documents:
        print(line["said"])
    print_skipped(done.skipped, "left out; the store is kept" if arguments.action == "leave" else "left out")


def _each(memory: Path, act: Callable[[CameraReader], _Result]) -> EachCamera[_Result]:
    """Call `act` for every camera; for none where none was recorded yet."""
    return Memory(memory).each(act) if camera_ids(memory) else EachCamera({}, {})


def _require_memory(memory: Path) -> None:
    """Raise MemoryNotFound unless this is a memory, or an empty directory for one: a mistyped path must not get a store of its own."""
    if camera_ids(memory):
        return
    others = sorted(set(os.listdir(memory)) - {FILE, SETTINGS, ANSWERS, "lost+found"})
    if others:
        raise MemoryNotFound(
            f"{memory} holds no camera but other files ('{others[0]}'); give the memory's directory, or an empty one for a new memory"
        )


# --- set ---


def _names_store(arguments: argparse.Namespace) -> bool:
    """Whether `set` is given a store. Raises UsageError for settings without one."""
    if arguments.url is None and (arguments.endpoint or arguments.region or arguments.local_gb is not None):
        raise UsageError("settings of which store? give its address, too: s3://bucket/prefix")
    return arguments.url is not None


def _set(memory: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    if not os.path.lexists(memory):
        raise MemoryNotFound(
            f"no memory at {memory}; record one first, or make an empty directory for it (mkdir) and set its store"
        )
    _require_memory(memory)
    try:
        before = read_store(memory)
    except DamagedMemory:
        before = None  # this command repairs it
    given = {"endpoint": arguments.endpoint, "region": arguments.region, "local_gigabytes": arguments.local_gb}
    values = {"url": arguments.url, **{name: value for name, value in given.items() if value is not None}}
    try:
        settings = load_mapping(values, StoreSettings, source="store")
    except ConfigError as error:
        raise UsageError(redact(str(error))) from None
    if before is not None and (before.url, before.endpoint) != (settings.url, settings.endpoint):
        sent = _each(memory, lambda reader: UploadState.read(reader.held.path).bytes)
        used = [camera for camera, size in sent.results.items() if size]
        if sent.skipped:
            raise UsageError(
                f"{memory}: it cannot be told whether chunks of {', '.join(sent.skipped)} are stored on {before.url}: "
                f"{next(iter(sent.skipped.values()))}"
            )
        if used:
            raise UsageError(
                f"{memory}: chunks of {', '.join(used)} are stored on {before.url}; run `afterview store leave` first"
            )
    _probe(BucketClient(settings, ""))
    _refuse_others(memory, settings, used=before is not None and before.url == settings.url)
    try:
        write_store(memory, settings)
    except OSError as error:
        raise NotWritable(f"memory {describe(error, memory, action='written')}") from None
    said = _describe(memory, settings)
    if camera_ids(memory):
        said += "\n  the next watch sends the existing frames, oldest first; to send them now: afterview store flush"
    return {"store": settings.model_dump(), "said": said}


def _probe(bucket: BucketClient) -> None:
    """Write, read and delete one object, so that a mistake shows now and not with the first seal."""
    bucket.put(_PROBE, b"afterview")
    if bucket.read(_PROBE) != b"afterview":
        raise StoreUnreachable(f"{bucket.name}: does not return what was written to it")
    bucket.delete([_PROBE])


def _refuse_others(memory: Path, settings: StoreSettings, *, used: bool) -> None:
    """Raise StoreRefused if other memories' cameras lie there. used: this memory has used the place before."""
    place = BucketClient(settings, "")

    def is_own(camera: str) -> bool | None:
        theirs = BucketClient(settings, camera).read("camera.json")
        if theirs is None:
            return None
        own = memory / camera / "camera.json"
        return same_camera(own.read_bytes(), theirs) if own.is_file() else False

    found = place.folders()
    whose = dict(zip(found, place.each(is_own, found), strict=True))
    others = [camera for camera in found if whose[camera] is False]
    clashing = [camera for camera in others if (memory / camera / "camera.json").is_file()]
    if clashing or (others and not used and True not in whose.values()):
        raise StoreRefused(
            f"{place.name}: holds the frames of another memory ({_some(clashing or others)}); choose another prefix"
        )


def _some(cameras: list[str]) -> str:
    """For people: 'yard', 'door' and 4 more."""
    shown = ", ".join(f"'{camera}'" for camera in cameras[:3])
    return shown if len(cameras) <= 3 else f"{shown} and {len(cameras) - 3} more"


# --- status, flush, leave ---


def _status(reader: CameraReader) -> dict[str, Any]:
    status = store_status(reader.held.path, reader.snapshot())
    assert status is not None, "`run` has seen that the memory has a store"
    if status.place is None:
        raise RepositoryError(status.why)
    try:
        _bucket(reader).size("camera.json")
        failure = None
    except StoreError as error:
        failure = str(error)
    said = f"{reader.info.id}: {describe_store(status, reader.info)}\n  {describe_published(status, reader.info)}"
    said += f"\n  connection: {failure or 'ok'}"
    if status.keeps_versions:
        said += (
            "\n  the bucket keeps old versions: what is forgotten or evicted stays in them until they are deleted there"
        )
    return {**status.to_dict(reader.info), "answers": failure is None, "reason": failure, "said": said}


def _flush(reader: CameraReader) -> dict[str, Any]:
    """Seal what fills whole seals, send everything that is sealed, publish it, and say what stays here."""
    name, wrong = reader.info.id, []
    try:
        apply(reader, {"do": "enforce"})  # completes removals that wait for the store; opening the camera seals
    except RepositoryError as error:
        wrong.append(f"removals that wait for the store could not be completed: {error}")
    settings, bucket = read_store(reader.held.path.parent), _bucket(reader)
    upload = Upload(reader.held.path, bucket, local_bytes=(settings.local_gigabytes if settings else 0) * 1e9)
    if (failure := _send(name, upload)) is not None:
        seals, size = upload.waiting()
        what = (
            f"{counted(seals, 'seal')} ({spell_bytes(size)}) could not be sent"
            if seals
            else "the store could not be asked"
        )
        wrong.append(f"{what}: {failure}")
    status = store_status(reader.held.path, reader.snapshot())
    assert status is not None, "`run` has seen that the memory has a store"
    said = [f"{name}: {text}; nothing is lost, run the command again" for text in wrong]
    if not status.waiting_seals and failure is None:
        said.insert(0, f"{name}: everything sealed is on {bucket.name}")
    said.append(f"  {describe_published(status, reader.info)}")
    return {
        **status.to_dict(reader.info), "problems": wrong, "whole": not wrong, "said": "\n".join(said),
    }  # fmt: skip


def _send(name: str, upload: Upload) -> StoreError | None:
    """Take every step, with retries; returns the error that lasted for GIVE_UP_S."""
    backoff, answered = Backoff(BackoffConfig(max_s=10.0)), time.monotonic()
    reported, (_, total) = answered, upload.waiting()
    with progress(name, "MB", scale=1e-6) as report:
        while True:
            try:
                if not upload.step(finish=True):
                    return None
                backoff.connection_ended(time.monotonic() - answered)
                answered = time.monotonic()
                if answered - reported > _MEASURE_EVERY_S:
                    reported = answered
                    report(max(0, total - upload.waiting()[1]), total)
            except StoreUnreachable as error:
                if time.monotonic() - answered > GIVE_UP_S:
                    return error
                wait = backoff.next_delay()
                _LOGGER.info("%s: %s; next try in %.1f s", name, error, wait)
                time.sleep(wait)
            except StoreError as error:
                return error


def _leave(reader: CameraReader) -> dict[str, Any]:
    with progress(reader.info.id, "MB", scale=1e-6) as report:
        size, bad = restore_camera(reader.held.path, _bucket(reader), report)
    said = f"{reader.info.id}: {size / 1e6:.1f} MB downloaded"
    checked = fsck(reader.held.path)
    if checked.unchecked:  # chunks that did not come back would not be noticed
        said += f"; {checked.unchecked[0].what}. The store is kept; run the command again"
    elif checked.damage:
        said += (
            f"; {len(bad)} chunks failed their checksum on the store, {len(checked.damage)} places are damaged or missing here. "
            "Run `afterview fsck --repair` (what cannot be repaired is recorded as lost), then run `store leave` again. "
            "The store is kept until then"
        )
    return {"bytes": size, "damaged_chunks": bad, "whole": checked.clean, "said": said}


def _confirm_leaving(memory: Path, arguments: argparse.Namespace) -> None:
    if not arguments.delete:
        return
    sizes = _each(memory, lambda reader: (_bucket(reader).name, UploadState.read(reader.held.path).bytes)).results
    lines = [
        f"{name}: its objects, {size / 1e6:.1f} MB, would be deleted once all is here"
        for name, size in dict(sizes.values()).items()
    ]
    confirm(lines, arguments)


def _end(memory: Path, cameras: list[str], *, delete: bool) -> None:
    """Everything is local: remove the store's settings, and with `delete` the objects."""
    for camera in cameras if delete else []:
        bucket = _bucket(Memory(memory).camera(camera))
        bucket.delete(bucket.sizes())
    if unlink(memory / FILE):
        fsync_directory(memory)


def _bucket(reader: CameraReader) -> BucketClient:
    bucket = bucket_of(reader.held.path)
    if bucket is None:
        raise UsageError(f"{reader.directory.parent}: has no store")
    return bucket
