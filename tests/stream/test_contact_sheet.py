"""Contact sheets: every frame is on it, whole and in order; what has no picture says why; text of any script is drawn or said."""

import io
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from afterview.stream import fonts
from afterview.stream.contact_sheet import MOST_FRAMES, SheetFrame, SheetRow, SheetText, draw_sheet
from afterview.stream.fonts import Fonts
from afterview.stream.sheet_parts import fitted

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200), (120, 60, 20)]
AMBER = np.array((255, 183, 77))
EDGE = np.array((48, 53, 64))
GREEN, RED = (102, 187, 106), (239, 83, 80)


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


def test_a_share_of_nothing_has_an_empty_bar_and_cards_without_bars_line_up_with_the_rest() -> None:
    frames = [SheetFrame(plain(colour), "now", "a", share=None) for colour in COLOURS[1:3]]
    frames.insert(0, SheetFrame(plain(COLOURS[0]), "now", "a", share=0.0))
    sheet = opened(draw_sheet([*frames, SheetFrame(plain(COLOURS[3]), "now", "a", share=1.0)]).data)
    amber = (np.abs(sheet - AMBER) < 4).all(axis=-1)
    assert not amber[: len(sheet) // 2].any()
    assert amber[len(sheet) // 2 :, sheet.shape[1] // 2 :].sum(axis=1).max() > 380
    assert (
        where(sheet, COLOURS[2])[0].min() == where(sheet, COLOURS[3])[0].min() > where(sheet, COLOURS[0])[0].max() + 92
    )


def test_an_upright_picture_is_shown_whole() -> None:
    frames = [SheetFrame(plain((200, 30, 30)), "now", "a"), SheetFrame(plain((30, 200, 30), (240, 427)), "now", "b")]
    rows, columns = where(opened(draw_sheet(frames).data), (30, 200, 30))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(427 / 240, rel=0.05)


def test_a_badge_is_on_the_picture() -> None:
    """Only the upper left corner of the picture differs."""
    sheets = [
        opened(draw_sheet([SheetFrame(plain((200, 30, 30)), "now", "a", badge=each)]).data) for each in ("", "12")
    ]
    rows, columns = np.nonzero((sheets[0] != sheets[1]).any(axis=-1))
    assert len(rows) > 500
    assert max(rows.max(), columns.max()) < 100
    assert (sheets[1][:100, :100] > 200).all(axis=-1).any()  # its text


def test_cards_have_round_corners() -> None:
    sheet = opened(draw_sheet([SheetFrame(plain((200, 30, 30), (720, 400)), "now", "a")]).data)
    assert (sheet[28:31, 28:31] == sheet[0, 0]).all()
    assert (np.abs(sheet[28 + 8, 28 + 8] - (200, 30, 30)) < 12).all()


def test_lines_separate_rows_and_a_mark_says_what_is_right() -> None:
    def lines(count: int) -> int:
        rows = [SheetRow("answer", "a", "result"), SheetRow("truth", "b"), SheetRow("as of", "c")][:count]
        sheet = opened(draw_sheet([], [SheetText("Q", "title"), *rows, SheetText("the frames:")]).data)
        return int(((np.abs(sheet - EDGE) < 4).all(axis=-1).sum(axis=1) > sheet.shape[1] * 0.8).sum()) // 2

    assert [lines(count) for count in (0, 1, 2, 3)] == [0, 0, 1, 2]
    shown = {}
    for right in (True, False, None):
        sheet = opened(draw_sheet([], [SheetRow("answer", "a", right=right)]).data)
        shown[right] = tuple(len(where(sheet, colour)[0]) > 50 for colour in (GREEN, RED))
    assert shown == {True: (True, False), False: (False, True), None: (False, False)}


def test_every_row_takes_height_even_an_empty_one() -> None:
    rows = [SheetRow("answer", "a"), SheetRow("truth", ""), SheetRow("as of", "a long one " * 40)]
    heights = [len(opened(draw_sheet([], rows[:count]).data)) for count in range(4)]
    steps = np.diff(heights)
    assert steps[1] >= 24
    assert steps[2] > 5 * steps[1]


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
    frames = [SheetFrame(plain((90, 90, 90)), long, long, value="score 0.5", badge="1")] * 2
    header = [SheetText(long, "title"), SheetRow(long, long, right=False), SheetRow(long, "why " * 120)]
    sheet = opened(draw_sheet(frames, header, [SheetText(f"{long} {long}", "small")]).data)
    ground = sheet[0, 0]
    assert (sheet[:, :20] == ground).all()
    assert (sheet[:, -20:] == ground).all()
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
    shown = fitted(f"{'n' * 200}, frame 27", font, 250)
    assert shown.startswith("nnn")
    assert shown.endswith("n..., frame 27")
    assert font.getlength(shown) <= 250
    assert fitted("n" * 200, font, 250).endswith("n...")
    assert fitted(f"a, {'n' * 200}", font, 250).startswith("a, nnn")
