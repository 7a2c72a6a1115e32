"""`afterview forget`: remove a span of a camera, with proof, whether it is being recorded or not."""

import argparse
from typing import Any

from afterview.cli.arguments import memory_path
from afterview.cli.commands.manage import require_choice, span_of
from afterview.cli.confirm import confirm
from afterview.cli.output.deletions import describe_preview, show_previews
from afterview.cli.output.documents import dump, print_skipped
from afterview.configs import ExitStatus
from afterview.memory.base.counts import counted
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.preview import Preview, preview_forget
from afterview.stream.ingest.commands import BY_RECORDER, apply
from afterview.stream.service.changes import delete_exports


def run(arguments: argparse.Namespace) -> int:
    """Show what would go, ask, forget it, and report what went."""
    memory = Memory(memory_path(arguments.memory))
    require_choice(memory, arguments)
    spans: dict[str, tuple[float, float]] = {}

    def preview(reader: CameraReader) -> Preview:
        spans[reader.info.id] = span_of(reader, arguments)
        return preview_forget(reader, *spans[reader.info.id])

    found = memory.each(preview, arguments.camera)
    previews = list(found.results.values())
    lines = [line for preview in previews for line in describe_preview(preview, "forgotten")]
    if arguments.dry_run:
        return show_previews(arguments, found, lines)
    if any(preview.frames or preview.lost for preview in previews):
        confirm(lines, arguments)

    def forget(reader: CameraReader) -> dict[str, Any]:
        start, stop = spans[reader.info.id]
        done = apply(reader, {"do": "forget", "start": start, "stop": stop})
        delete_exports(memory.held.path, reader.info.id)  # what a service has exported of it
        document = {**done, "stays": {"frames": reader.snapshot().frames}}
        if not arguments.json:  # at once: the next camera may fail
            _print(document, reader)
        return document

    done = memory.each(forget, arguments.camera)
    if arguments.json:
        infos = [memory.camera(name).info for name in done.results]
        dump({"cameras": list(done.results.values()), "skipped": done.skipped}, arguments.memory, infos)
    else:
        print_skipped(done.skipped, "left out; nothing of it was forgotten")
    return ExitStatus.FAILURE if done.skipped else ExitStatus.OK


def _print(document: dict[str, Any], reader: CameraReader) -> None:
    proof = document["proof"]
    who = " (executed by the recording process)" if document["by"] == BY_RECORDER else ""
    print(
        f"{document['camera']}: {counted(document['frames'], 'frame')} forgotten, {document['stays']['frames']} stay{who}"
    )
    for gone in document["ranges"]:
        print(
            f"  {reader.info.show(gone['start'])} to {reader.info.show(gone['end'])}: {counted(gone['frames'], 'frame')}"
        )
    objects = (
        f"{counted(proof['objects_deleted'], 'object')} deleted from the store; " if proof["objects_deleted"] else ""
    )
    rewritten = f"{proof['files_rewritten'] + proof['files_overwritten']} rewritten"
    print(f"  proof: {counted(proof['files_deleted'], 'file')} deleted, {rewritten}, {proof['bytes'] / 1e6:.1f} MB freed; {objects}"
          f"every chunk of {counted(proof['frames_checked'], 'frame')} read again, {counted(proof['traces'], 'trace')} left")  # fmt: skip
    if proof["bucket_keeps_versions"]:
        print("  note: the store's bucket keeps old versions of objects; delete those there, or by a lifecycle rule")
