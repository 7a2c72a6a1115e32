"""Contact sheets: every frame is on it, whole and in order; what has no picture says why; text of any script is drawn or said."""

import io
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from afterview.stream import fonts
from afterview.stream.contact_sheet import MOST_FRAMES, SheetFrame, SheetText, _fitted, draw_sheet
from afterview.stream.fonts import Fonts

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200), (120, 60, 20)]
AMBER = np.array((255, 183, 77))


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (427, 240)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def opened(data: bytes, kind: str = "PNG") -> NDArray[np.int64]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == kind
        return np.asarray(image.convert("RGB")).astype(np.int64)


def where(sheet: NDArray[np.int64], colour: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.nonzero((np.abs(sheet - np.array(colour)) < 12).all(axis=-1))  # type: ignore[return-value]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_every_frame_is_shown_in_its_own_size_and_in_reading_order(count: int) -> None:
    frames = [SheetFrame(plain(colour), "14:02:11", "front door") for colour in COLOURS[:count]]
    sheet = opened(draw_sheet(frames, [SheetText("What was it?", "title")]).data)
    corners = []
    for colour in COLOURS[:count]:
        rows, columns = where(sheet, colour)
        assert np.ptp(columns) > 380
        assert np.ptp(rows) > 210
        corners.append((int(rows.min()) // 100, int(columns.min())))
    assert corners == sorted(corners)


def test_a_larger_image_is_shown_larger_if_it_is_alone() -> None:
    widths = []
    for count in (1, 2, 8):
        frames = [SheetFrame(plain((200, 30, 30), (1920, 1080)), "now", "a")] * count
        rows, columns = where(opened(draw_sheet(frames).data), (200, 30, 30))
        widths.append(int(np.ptp(columns[rows == rows.min()])) if count == 1 else int(columns.max() + 1) // count)
    assert widths[0] > 1200
    assert 500 < widths[1] < 700


def test_a_bar_is_as_long_as_its_share_on_every_sheet() -> None:
    lengths = []
    for shares in ([0.6, 0.3], [0.3, 0.1]):
        sheet = opened(draw_sheet([SheetFrame(plain((90, 90, 90)), "now", "a", share=share) for share in shares]).data)
        amber = (np.abs(sheet - AMBER) < 4).all(axis=-1)
        half = sheet.shape[1] // 2
        lengths.append([int(part.sum(axis=1).max()) for part in (amber[:, :half], amber[:, half:])])
    assert lengths[0][1] == lengths[1][0]  # the same share is as long beside another
    assert lengths[0][0] == pytest.approx(2 * lengths[0][1], abs=3)
    assert lengths[1][1] == pytest.approx(lengths[1][0] / 3, abs=3)


def test_what_is_no_picture_says_why_in_its_place() -> None:
    with_text = draw_sheet([SheetFrame(b"no jpeg", "now", "a", why="lost to damage on the disk")])
    without = draw_sheet([SheetFrame(b"", "now", "a", why="")])
    assert with_text.data != without.data
    truncated = plain((1, 2, 3))[:40]
    assert opened(draw_sheet([SheetFrame(truncated, "now", "a")]).data).size


def test_a_sheet_without_frames_has_its_texts() -> None:
    sheet = opened(
        draw_sheet([], [SheetText("Why?", "title"), SheetText("two\nlines")], [SheetText("no evidence")]).data
    )
    assert (sheet > 200).any()
    lone = opened(draw_sheet([], [SheetText("Why?", "title"), SheetText("two")], [SheetText("no evidence")]).data)
    assert sheet.shape[0] > lone.shape[0]  # a line of its own


def test_no_text_leaves_the_picture() -> None:
    long = "incomprehensibilities" * 40
    frames = [SheetFrame(plain((90, 90, 90)), long, long, value="score 0.5")] * 2
    sheet = opened(draw_sheet(frames, [SheetText(long, "title")], [SheetText(f"{long} {long}", "small")]).data)
    ground = sheet[0, 0]
    assert (sheet[:, -4:] == ground).all()
    assert (sheet[-10:] == ground).all()


def test_a_jpeg_and_as_many_frames_as_a_sheet_takes() -> None:
    sheet = draw_sheet([SheetFrame(plain((90, 90, 90)), "now", "a")] * MOST_FRAMES, format="JPEG")
    assert opened(sheet.data, "JPEG").shape[0] < 65_000
    assert sheet.note == ""


def test_letters_that_no_font_has_are_said_and_stay_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without fonts: Pillow's own has ASCII alone."""
    monkeypatch.setattr(fonts, "_candidates", lambda letters, size: iter(()))
    fonts._best.cache_clear()
    chosen = Fonts()
    assert chosen.choose("Übergang 玄関\n2", 20)[1] == "Ubergang <7384><95a2> 2"
    assert "玄" in chosen.note()
    assert "Ü" in chosen.note()
    assert "install fonts" in chosen.note()
    sheet = draw_sheet([SheetFrame(plain((9, 9, 9)), "now", "玄関")])
    assert "玄" in sheet.note
    assert draw_sheet([SheetFrame(plain((9, 9, 9)), "now", "hall")]).note == ""
    fonts._best.cache_clear()


def test_a_font_of_the_machine_is_used_where_it_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithUmlauts(ImageFont.ImageFont):
        pass

    other = WithUmlauts()
    monkeypatch.setattr(fonts, "_candidates", lambda letters, size: iter([other]))
    monkeypatch.setattr(fonts, "_has", lambda font, letter: letter.isascii() or (font is other and letter == "Ü"))
    fonts._best.cache_clear()
    chosen = Fonts()
    assert chosen.choose("Über", 20) == (other, "Über")
    assert chosen.note() == ""
    assert chosen.choose("plain", 20)[0] is not other
    fonts._best.cache_clear()


def test_cards_do_not_overlap() -> None:
    frames = [SheetFrame(plain(colour, (300, 400)), "now", "a") for colour in COLOURS]
    sheet = opened(draw_sheet(frames).data)
    boxes = []
    for colour in COLOURS:
        rows, columns = where(sheet, colour)
        boxes.append((rows.min(), rows.max(), columns.min(), columns.max()))
    for one, other in pairwise(boxes):
        assert one[1] < other[0] or one[3] < other[2]


def test_a_long_name_leaves_the_number_of_the_frame() -> None:
    font = Fonts().choose("n", 16)[0]
    shown = _fitted(f"{'n' * 200}, frame 27", font, 250)
    assert shown.startswith("nnn")
    assert shown.endswith("n..., frame 27")
    assert font.getlength(shown) <= 250
    assert _fitted("n" * 200, font, 250).endswith("n...")
    assert _fitted(f"a, {'n' * 200}", font, 250).startswith("a, nnn")
