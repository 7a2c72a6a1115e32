"""The contact sheet: every frame is on it, whole and in order, with its bar, and no text leaves the picture."""

import io
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.demo.contact_sheet import SheetItem, contact_sheet

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200), (120, 60, 20)]
AMBER = np.array((255, 183, 77))


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


def test_bars_are_as_long_as_the_weights() -> None:
    weights = [0.6, 0.3, 0.15, 0.0]
    items = [SheetItem(plain((90, 90, 90)), "a", "now", weight) for weight in weights]
    sheet = opened(contact_sheet(items, "", subtitle=""))
    amber = (np.abs(sheet - AMBER) < 4).all(axis=-1)
    width = sheet.shape[1] // 4
    lengths = [amber[:, n * width : (n + 1) * width].sum(axis=1).max() for n in range(4)]
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
    sheet = opened(contact_sheet(shown, f"{many} {endless}", subtitle=many, footer=many))
    ground = sheet[0, 0]
    frame = [sheet[:20], sheet[-20:], sheet[:, :20].swapaxes(0, 1), sheet[:, -20:].swapaxes(0, 1)]
    assert all((strip == ground).all() for strip in frame)
    assert (sheet != ground).any()


def test_a_sheet_without_evidence_says_so_and_more_frames_make_it_taller() -> None:
    empty = opened(contact_sheet([], "Did a red circle appear?", subtitle="Not seen."))
    untitled = opened(contact_sheet([], ""))
    assert (untitled != untitled[0, 0]).any()  # it says that there is no evidence
    assert len(empty) > len(untitled)
    heights = [len(opened(contact_sheet([SheetItem(plain((9, 9, 9)), "a", "t", 0.1)] * n, "Q"))) for n in (1, 6, 12)]
    assert all(low < high for low, high in pairwise(heights))
