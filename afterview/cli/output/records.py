"""Shows an answer or a search: as JSON or as text, and as a sheet."""

import argparse
import logging
from pathlib import Path
from typing import Any

from afterview.cli.output.answers import print_answer, print_search, zone_of
from afterview.cli.output.documents import dump
from afterview.cli.output.sheets import picture_place, write_record_sheet
from afterview.cli.viewer import open_picture
from afterview.configs import ExitStatus
from afterview.memory.base.iso_times import with_iso
from afterview.stream.ask.answer_record import AnswerRecord, Record
from afterview.stream.ask.saved_answers import Saved

_LOGGER = logging.getLogger(__name__)


def show_record(
    record: Record, saved: Saved, arguments: argparse.Namespace, sheet: Path | None, *, text: bool = True
) -> int:
    """Print a record and make its sheet as --json, --sheet and --open say. Returns the exit status. `text` False: it was streamed."""
    notes = [f"note: {note}" for note in saved.notes]
    if sheet is not None or arguments.open:
        sheet = picture_place(sheet, f"answer-{record.about.id}.jpg")
        note = write_record_sheet(record, sheet)
        notes += [f"note: {note}"] if note else []
    if arguments.json:
        dump(document_of(record, saved, sheet), arguments.memory)
    else:
        if isinstance(record, AnswerRecord):
            print_answer(record, saved.images, text=text)
        else:
            print_search(record, saved.images)
        if sheet is not None:
            print(f"sheet: {sheet}")
    for line in notes:
        _LOGGER.warning("%s", line)
    if arguments.open and sheet is not None:
        open_picture(sheet)
    return ExitStatus.OK


def document_of(record: Record, saved: Saved, sheet: Path | None) -> dict[str, Any]:
    """The JSON document of a record."""
    cameras = record.about.cameras
    zone = zone_of(cameras)
    document: dict[str, Any] = with_iso(record.to_dict(saved.images), cameras, zone)
    del document["memory"]  # as it was named then; `dump` names the memory as it is named now
    return {
        **document,
        "asked_iso": zone.iso(record.about.asked),
        "saved": {
            "directory": saved.directory and str(saved.directory),
            "in_memory": saved.kept,
            "notes": list(saved.notes),
        },
        "sheet": sheet and str(sheet),
    }
