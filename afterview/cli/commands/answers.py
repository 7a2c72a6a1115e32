"""`afterview answers`: saved answers and searches. Loads no model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afterview.cli.arguments import memory_path
from afterview.cli.confirm import confirm
from afterview.cli.output.answers import print_origin, zone_of
from afterview.cli.output.documents import dump, print_skipped, printable
from afterview.cli.output.records import show_record
from afterview.cli.output.sheets import picture_path
from afterview.configs import ExitStatus, UsageError
from afterview.configs.system_errors import describe
from afterview.memory.base.counts import counted, spell_bytes
from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.format.answer_files import SavedDirectory, delete_answer, saved_directories
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.saved_answers import KEPT, KEPT_BYTES, Saved, changes_since, find_saved, open_saved

_LONGEST = 60  # characters of a text in the list
_MOST_PREVIEWED = 10  # answers that are listed before they are deleted
_IMAGES_ONLY = "an earlier version saved only its images"


def run(arguments: argparse.Namespace) -> int:
    """List, open or delete."""
    if arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}: must be at least 1")
    if arguments.all and not arguments.delete:
        raise UsageError("--all: only with --delete; --limit N lists more")
    memory = memory_path(arguments.memory)
    if not memory.is_dir():
        raise MemoryNotFound(f"no memory at {memory}; `afterview watch` or `afterview replay` makes one")
    if arguments.delete:
        return _delete(memory, arguments)
    sheet = picture_path("--sheet", arguments.sheet, force=arguments.force)
    if not arguments.id:
        if sheet or arguments.open:
            raise UsageError("--sheet and --open show one answer; give its id")
        return _list(memory, arguments)
    if len(arguments.id) > 1:
        raise UsageError("give one id; several only with --delete")
    return _show(find_saved(memory, arguments.id[0]), memory, arguments, sheet)


def _show(one: SavedDirectory, memory: Path, arguments: argparse.Namespace, sheet: Path | None) -> int:
    """Print an answer as it was, with what became of its frames."""
    try:
        record, images = open_saved(one.path)
    except MemoryNotFound:
        return _show_images(one, arguments)
    if not arguments.json:
        print_origin(record)
    return show_record(record, Saved(one.path, images, True, tuple(changes_since(record, memory))), arguments, sheet)


def _show_images(one: SavedDirectory, arguments: argparse.Namespace) -> int:
    """What an earlier version left: the images alone."""
    if arguments.sheet or arguments.open:
        raise UsageError(f"answer {one.id}: {_IMAGES_ONLY}, so there is no sheet")
    images = sorted(str(path) for path in one.path.glob("*.jpg"))
    if arguments.json:
        dump({**_about(one), "images": images}, arguments.memory)
    else:
        print(f"answer {one.id}: {_IMAGES_ONLY}")
        print(*images, sep="\n")
    return ExitStatus.OK


def _list(memory: Path, arguments: argparse.Namespace) -> int:
    known = saved_directories(memory)
    shown = [_about(one) for one in known[: arguments.limit]]
    size = sum(one.bytes for one in known)
    if arguments.json:
        limits = {"answers": KEPT, "bytes": KEPT_BYTES}
        dump({"answers": shown, "saved": len(known), "bytes": size, "kept": limits}, arguments.memory)
        return ExitStatus.OK
    for about in shown:
        print(_line(about))
    if len(known) > len(shown):
        print(f"and {len(known) - len(shown)} older ones; --limit {len(known)} lists all")
    print(f"{len(known)} saved, {spell_bytes(size)}; the newest {KEPT} are kept, up to {KEPT_BYTES / 1e9:g} GB")
    return ExitStatus.OK


def _about(one: SavedDirectory) -> dict[str, Any]:
    """One saved answer in a list."""
    about: dict[str, Any] = {"id": one.id, "bytes": one.bytes, "directory": str(one.path)}
    try:
        record, _ = open_saved(one.path, images=False)
    except RepositoryError as error:
        kind, problem = ("images", _IMAGES_ONLY) if isinstance(error, MemoryNotFound) else ("unreadable", str(error))
        when = {"asked": one.saved, "asked_iso": zone_of({}).iso(one.saved)}
        return {**about, "kind": kind, **when, "text": None, "answer": None, "cameras": [], "problem": problem}
    return {
        **about,
        "kind": record.kind,
        "asked": record.about.asked,
        "asked_iso": zone_of(record.about.cameras).iso(record.about.asked),
        "text": record.text,
        "answer": record.answer.text if isinstance(record, AnswerRecord) else None,
        "cameras": list(record.about.cameras),
        "forgotten": {camera: dict(counts) for camera, counts in record.about.forgotten.items()},
        "problem": None,
    }


def _line(about: dict[str, Any]) -> str:
    start = f"{about['id']}  {about['asked_iso'][:19].replace('T', ' ')} {about['asked_iso'][-6:]}"
    if about["text"] is None:
        return f"{start}  {about['problem']}"
    answer = f"  ->  {_short(about['answer'])}" if about["answer"] else ""
    forgotten = "  (partly forgotten)" if about["forgotten"] else ""
    what = "search: " if about["kind"] == "search" else ""
    return f"{start}  {what}{_short(about['text'])}{answer}{forgotten}"


def _short(text: str) -> str:
    plain = printable(text).replace("\n", ", ")
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST].rstrip()}..."


def _delete(memory: Path, arguments: argparse.Namespace) -> int:
    if bool(arguments.id) == arguments.all:
        raise UsageError("--delete: which answers? give their ids, or --all")
    known = saved_directories(memory)
    chosen = (
        known
        if arguments.all
        else list({one.id: one for one in (find_saved(memory, id) for id in arguments.id)}.values())
    )
    if chosen and not arguments.dry_run:
        confirm(
            [*(_line(_about(one)) for one in chosen[:_MOST_PREVIEWED]), f"{_count(chosen)} would be deleted"], arguments
        )
    failed = {} if arguments.dry_run else _delete_each(chosen)
    chosen = [one for one in chosen if one.id not in failed]
    if arguments.json:
        deleted = [{"id": one.id, "bytes": one.bytes} for one in chosen]
        gone = {"deleted": [] if arguments.dry_run else deleted, "would_delete": deleted if arguments.dry_run else []}
        dump({**gone, "skipped": failed}, arguments.memory)
        return ExitStatus.FAILURE if failed else ExitStatus.OK
    if arguments.dry_run:
        for one in chosen:
            print(_line(_about(one)))
    print(f"{_count(chosen)} would be deleted" if arguments.dry_run else f"{_count(chosen)} deleted")
    print_skipped(failed, "not deleted")
    return ExitStatus.FAILURE if failed else ExitStatus.OK


def _count(chosen: list[SavedDirectory]) -> str:
    return f"{counted(len(chosen), 'saved answer')} ({spell_bytes(sum(one.bytes for one in chosen))})"


def _delete_each(chosen: Sequence[SavedDirectory]) -> dict[str, str]:
    """Delete answers; the ids of those that are left, and why."""
    failed = {}
    for one in chosen:
        try:
            delete_answer(one.path)
        except OSError as error:
            failed[one.id] = describe(error, error.filename or one.path, action="written")
    return failed
