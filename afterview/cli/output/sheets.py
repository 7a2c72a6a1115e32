"""Contact sheets of answers, searches and spans: what is written on them, and the files."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.cli.arguments import require_new
from afterview.cli.output.answers import damage_of, split_evidence, zone_of
from afterview.cli.output.evidence import bar_of, bars_in_words, has_shares, standing
from afterview.configs import UsageError
from afterview.configs.system_errors import describe
from afterview.memory.base.counts import counted, percent

if TYPE_CHECKING:
    from afterview.stream.ask.answer_record import AnswerRecord, Origin, Record, SearchRecord
    from afterview.stream.contact_sheet import SheetFrame, SheetText

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


def picture_path(option: str, text: str | None, *, force: bool) -> Path | None:
    """Check the file of --sheet or --output before any work is done. Raises UsageError. None if it was not given."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{option} {text}: give a name that ends in .jpg or .png")
    require_new([path], force=force)
    if not path.parent.is_dir():
        raise UsageError(f"{option} {text}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} {text}: {path.parent} cannot be written")
    return path


def picture_place(path: Path | None, name: str) -> Path:
    """The file to write a picture to: the given one, or one in a new temporary directory."""
    return path or Path(tempfile.mkdtemp(prefix="afterview-")) / name


def write_picture(path: Path, data: bytes) -> None:
    """Write a file outside the memory. Raises UsageError where that fails."""
    from afterview.memory.base.durable import write_file

    try:
        write_file(path, data)
    except OSError as error:
        raise UsageError(describe(error, path, action="written")) from None


def write_sheet(
    path: Path, frames: Sequence["SheetFrame"], header: Sequence["SheetText"], footer: Sequence["SheetText"]
) -> str:
    """Draw a contact sheet and write it; returns a note, or nothing. Raises UsageError where it cannot be written."""
    from afterview.stream.contact_sheet import draw_sheet  # late: it loads Pillow

    sheet = draw_sheet(frames, header, footer, format="JPEG" if FORMATS[path.suffix.lower()] == "JPEG" else "PNG")
    write_picture(path, sheet.data)
    return sheet.note


def write_record_sheet(record: "Record", path: Path) -> str:
    """The sheet of an answer or a search; returns a note, or nothing."""
    from afterview.stream.ask.answer_record import AnswerRecord

    return _answer_sheet(record, path) if isinstance(record, AnswerRecord) else _search_sheet(record, path)


def _answer_sheet(record: "AnswerRecord", path: Path) -> str:
    from afterview.stream.contact_sheet import MOST_FRAMES, SheetFrame, SheetText

    answer, zones = record.answer, record.about.cameras
    shares = has_shares(answer)
    shown, rest = split_evidence(answer.evidence, all_of_them=not shares)
    frames = [
        SheetFrame(
            item.image, zones[item.camera].show(item.time), f"{item.camera}, frame {item.frame}{damage_of(item)}",
            percent(item.weight) if shares else standing(item, answer).strip(), bar_of(item, answer), "this image cannot be read",
        )
        for item in shown[:MOST_FRAMES]
    ]  # fmt: skip
    spans = []
    for part in answer.parts:
        own, info = part.coverage, zones[part.coverage.camera]
        spans.append(
            SheetText(
                f"{own.camera}: {counted(own.frames, 'frame')}, {info.show(own.first_time)} to {info.show(own.last_time)}",
                "small",
            )
        )
    header = [
        SheetText(answer.question, "title"),
        SheetText(
            answer.text
            if len(answer.parts) > 1 or answer.finds_only
            else f"answer: {answer.text or '(the model said nothing)'}",
            "result",
        ),
        SheetText(as_of(record.about)),
        *spans,
    ]
    none = "" if frames else "There is no evidence for this answer."
    more = f"{len(shown) - MOST_FRAMES} more frames" if len(shown) > MOST_FRAMES else ""
    each = " of each camera" if len(answer.parts) > 1 else ""
    bars = bars_in_words(answer)
    said = [
        f"{bars}{each}" if frames else "",
        "; ".join(filter(None, [none, more, rest])),
        _forgotten(record.about),
        answer.notice or "",
        _origin(record.about),
    ]
    return write_sheet(path, frames, header, [SheetText(text, "small") for text in said if text])


def _search_sheet(record: "SearchRecord", path: Path) -> str:
    from afterview.stream.contact_sheet import MOST_FRAMES, SheetFrame, SheetText

    result, zones = record.result, record.about.cameras
    frames = [
        SheetFrame(
            record.pictures.get((hit.camera, hit.frame), b""), zones[hit.camera].show(hit.time),
            f"{hit.camera}, frame {hit.frame}{damage_of(hit)}", f"score {hit.score:.3f}", None, "this image cannot be read",
        )
        for hit in result.hits[:MOST_FRAMES]
    ]  # fmt: skip
    found = f"the {len(result.hits)} most similar frames" if frames else "nothing was recorded in that span"
    header = [SheetText(f"search: {result.text}", "title"), SheetText(f"{found}, {as_of(record.about)}")]
    more = f"the first {MOST_FRAMES} are shown" if len(result.hits) > MOST_FRAMES else ""
    said = [more, _forgotten(record.about), result.notice or "", _origin(record.about)]
    return write_sheet(path, frames, header, [SheetText(text, "small") for text in said if text])


def as_of(about: "Origin") -> str:
    """The moment that an answer or a search is about: "as of 2026-11-27 08:04:59 CET, asked 2026-11-28 21:03:30 CET"."""
    info = zone_of(about.cameras)
    at, asked = about.options.get("at"), info.show(about.asked)
    return f"as of {asked}" if at is None else f"as of {info.show(at)}, asked {asked}"


def _forgotten(about: "Origin") -> str:
    return "; ".join(
        f"{camera}: {counts['frames']} frames of the span were forgotten since"
        for camera, counts in about.forgotten.items()
    )


def _origin(about: "Origin") -> str:
    return f"answer {about.id}, afterview {about.version}"
