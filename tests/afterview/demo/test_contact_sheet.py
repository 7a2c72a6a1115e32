"""The contact sheet: every frame is on it, whole and in order, with its bar, and no text leaves the picture."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.demo.contact_sheet import SheetItem, contact_sheet
from afterview.demo.report import draw_sheet
from afterview.memory.base.camera import CameraInfo
from afterview.stream.ask.question import Answer, CameraAnswer, Evidence
from afterview.training.evaluation.quiz import Put
from afterview.training.world import WorldQuestion

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200), (120, 60, 20)]
AMBER = np.array((255, 183, 77))
EDGE = np.array((48, 53, 64))
GREEN, RED = (102, 187, 106), (239, 83, 80)


def plain(colour: tuple[int, int, int], height: int = 90, width: int = 160) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def opened(png: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(np.int64)


def where(sheet: NDArray[np.int64], colour: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = np.nonzero((np.abs(sheet - np.array(colour)) < 12).all(axis=-1))
    return rows, columns


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_every_frame_is_shown_large_and_in_reading_order(count: int) -> None:
    items = [SheetItem(plain(colour), "front door", "14:02:11", 1 / count) for colour in COLOURS[:count]]
    sheet = opened(contact_sheet(items, "What was it?"))
    corners = []
    for colour in COLOURS[:count]:
        rows, columns = where(sheet, colour)
        assert np.ptp(columns) > 360
        assert np.ptp(rows) > 200
        corners.append((int(rows.min()) // 100, int(columns.min())))
    assert corners == sorted(corners)


def bars(weights: list[float]) -> list[int]:
    """Lengths of the bars of a sheet with up to four frames, in pixels."""
    items = [SheetItem(plain((90, 90, 90)), "a", "now", weight) for weight in weights]
    sheet = opened(contact_sheet(items, ""))
    amber = (np.abs(sheet - AMBER) < 4).all(axis=-1)
    width = sheet.shape[1] // max(len(items), 2)
    return [int(amber[:, n * width : (n + 1) * width].sum(axis=1).max()) for n in range(len(items))]


def test_bars_are_as_long_as_the_weights_on_every_sheet() -> None:
    lengths = bars([0.6, 0.3, 0.15, 0.0])
    assert bars([0.3])[0] == pytest.approx(lengths[1], abs=3), "the scale does not depend on the other frames"
    assert bars([1.0])[0] == pytest.approx(2 * lengths[1] / 0.6, abs=8)
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=6)
    assert lengths[2] == pytest.approx(lengths[0] / 4, abs=6)
    assert lengths[3] < 12  # the label only
    unweighted = opened(contact_sheet([SheetItem(plain((90, 90, 90)), "a", "now")], ""))
    assert not (np.abs(unweighted - AMBER) < 4).all(axis=-1).any()


def test_a_jpeg_and_an_upright_picture_are_shown_whole() -> None:
    file = io.BytesIO()
    Image.fromarray(plain((200, 30, 30))).save(file, "JPEG", quality=95)
    items = [SheetItem(file.getvalue(), "a", "now", 0.5), SheetItem(plain((30, 200, 30), 160, 90), "b", "now", 0.5)]
    sheet = opened(contact_sheet(items, "Q"))
    assert np.ptp(where(sheet, (200, 30, 30))[1]) > 360
    rows, columns = where(sheet, (30, 200, 30))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(16 / 9, rel=0.05)


@pytest.mark.parametrize("items", [0, 1, 6])
def test_long_words_stay_inside_the_picture(items: int) -> None:
    endless, many = "W" * 400, "why " * 120
    shown = [SheetItem(plain((90, 90, 90)), endless, endless, 0.1)] * items
    rows = [(endless, many), ("truth", endless)]
    sheet = opened(contact_sheet(shown, f"{many} {endless}", rows=rows, right=False, caption=many, footer=many))
    ground = sheet[0, 0]
    frame = [sheet[:20], sheet[-20:], sheet[:, :20].swapaxes(0, 1), sheet[:, -20:].swapaxes(0, 1)]
    assert all((strip == ground).all() for strip in frame)
    assert (sheet != ground).any()


def test_more_frames_and_more_rows_make_a_sheet_taller() -> None:
    bare, titled = opened(contact_sheet([], "")), opened(contact_sheet([], "Did a red circle appear?"))
    assert len(titled) > len(bare)
    heights = [len(opened(contact_sheet([SheetItem(plain((9, 9, 9)), "a", "t", 0.1)] * n, "Q"))) for n in (1, 6, 12)]
    assert all(low < high for low, high in pairwise(heights))
    rows = [("answer", "a"), ("truth", "b")]
    heights = [len(opened(contact_sheet([], "Q", rows=rows[:n]))) for n in range(3)]
    assert all(low < high for low, high in pairwise(heights))


def test_a_line_separates_answer_and_truth_and_a_mark_says_which_is_right() -> None:
    def lines(count: int) -> int:
        sheet = opened(contact_sheet([], "Q", rows=[("answer", "a"), ("truth", "b"), ("as of", "c")][:count]))
        return int((np.abs(sheet - EDGE) < 4).all(axis=-1).sum(axis=1).__gt__(sheet.shape[1] * 0.8).sum()) // 2

    assert [lines(count) for count in (1, 2, 3)] == [0, 1, 2]
    shown = {}
    for right in (True, False, None):
        sheet = opened(contact_sheet([], "Q", rows=[("answer", "a")], right=right))
        shown[right] = tuple(len(where(sheet, colour)[0]) > 50 for colour in (GREEN, RED))
    assert shown == {True: (True, False), False: (False, True), None: (False, False)}


def test_a_frame_whose_picture_cannot_be_read_is_no_failure() -> None:
    sheet = opened(
        contact_sheet([SheetItem(b"", "a", "now", 0.5), SheetItem(plain((200, 30, 30)), "b", "now", 0.4)], "Q")
    )
    assert len(where(sheet, (200, 30, 30))[0]) > 0


def answer(text: str, weights: list[float], *, declined: bool = False) -> Answer:
    evidence = tuple(Evidence("hall", n, float(n), weight, jpeg(COLOURS[n])) for n, weight in enumerate(weights))
    part = CameraAnswer(text, "", evidence, None, {}, {})  # type: ignore[arg-type]
    return Answer("id", "Q", text, () if declined else (part,), None, {}, 1.0, declined)


def jpeg(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(plain(colour)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize(
    ("given", "frames", "says"),
    [
        (answer("red", [0.7, 0.25, 0.02, 0.009, 0.0]), 3, "The evidence: the frames"),
        (answer("no", [0.7, 0.25]), 2, "It was not found. These are the frames"),
        (answer("red", [0.004, 0.003]), 0, "There is no evidence: no frame has 1% of"),
        (answer("red", []), 0, "There is no evidence"),
        (answer("I know only shapes", [], declined=True), 0, "does not know such questions"),
    ],
)
def test_frames_without_weight_are_left_out_and_a_sheet_without_frames_says_why(
    given: Answer, frames: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def draw(items: list[SheetItem], title: str, **settings: Any) -> bytes:
        drawn.update(settings, items=items, title=title)
        return b""

    monkeypatch.setattr("afterview.demo.report.contact_sheet", draw)
    question = WorldQuestion(kind="colour", text="Which colour?", answer="red", wrong=("blue",), at_s=40.0)
    info = CameraInfo("hall", "hall", timezone="Europe/Paris")
    draw_sheet(Put(100.0, question), given, info, 1_763_636_400.0, tmp_path / "sheet.png")
    assert len(drawn["items"]) == frames
    assert says in drawn["caption"]
    assert drawn["right"] is (given.text == "red")
    assert drawn["rows"] == [
        ("answer", given.text), ("truth", "red"), ("as of", "2025-11-20 12:00:00 CET, 1 min 00 s before the question"),
    ]  # fmt: skip
