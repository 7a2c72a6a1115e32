"""Contact sheet of an answer: the question, what is known about the answer, and its evidence frames, in one PNG. Uses Pillow only."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GROUND: Colour = (17, 19, 24)
_CARD: Colour = (29, 32, 40)
_EDGE: Colour = (48, 53, 64)
_BRIGHT: Colour = (240, 242, 246)
_MUTED: Colour = (146, 154, 170)
_AMBER: Colour = (255, 183, 77)
_TRACK: Colour = (52, 57, 69)
_GREEN: Colour = (102, 187, 106)
_RED: Colour = (239, 83, 80)

_MARGIN, _GAP, _PADDING, _RADIUS = 36, 20, 16, 12  # pixels
_LABEL_WIDTH, _MARK_WIDTH = 96, 130  # of the rows under the question
_CARD_WIDTH = 384
_PICTURE_HEIGHT = _CARD_WIDTH * 9 // 16  # frames of other aspect ratios are letterboxed
_CAPTION_HEIGHT = 100
_MOST_COLUMNS = 4
_FEWEST_COLUMNS = 2  # leaves enough width for a question


@dataclass(frozen=True)
class SheetItem:
    """One evidence frame."""

    image: (
        bytes | NDArray[np.uint8]
    )  # JPEG or another format that Pillow reads, or uint8 [H, W, 3]; empty: the card says so
    camera: str
    time: str  # in the camera's time zone: "2026-11-20 14:02:11 +01:00"
    weight: float | None = None  # share of the attention, 0..1


def contact_sheet(
    items: Sequence[SheetItem],
    title: str,
    *,
    rows: Sequence[tuple[str, str]] = (),
    right: bool | None = None,
    caption: str = "",
    footer: str = "",
) -> bytes:
    """Return a PNG that shows the items in the given order.

    title: the question. rows: label and text, such as ("answer", "red"), with lines between them. right: a mark beside the first row.
    caption: above the frames. footer: small print, such as the model's notice. A full bar is a weight of 1, on every sheet.
    """
    columns = min(max(_columns(len(items)), _FEWEST_COLUMNS), _MOST_COLUMNS)
    lines = -(-len(items) // columns)
    width = 2 * _MARGIN + columns * _CARD_WIDTH + (columns - 1) * _GAP
    header = _Header(title, rows, right, caption, width - 2 * _MARGIN)
    closing = _Paragraphs(width - 2 * _MARGIN)
    closing.add(footer, _font(16), _MUTED)

    card_height = _PICTURE_HEIGHT + _CAPTION_HEIGHT
    top = _MARGIN + header.height + (_GAP if header.height else 0)
    height = top + lines * (card_height + _GAP) + closing.height + _MARGIN - (0 if closing.height else _GAP)
    sheet = Image.new("RGB", (width, height), _GROUND)
    header.draw(sheet, _MARGIN, _MARGIN)
    for number, item in enumerate(items):
        left = _MARGIN + number % columns * (_CARD_WIDTH + _GAP)
        card = _card(item, number + 1)
        sheet.paste(card, (left, top + number // columns * (card_height + _GAP)), _rounded(card.size))
    closing.draw(sheet, _MARGIN, top + lines * (card_height + _GAP))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _columns(count: int) -> int:
    """Choose 3 or 4 columns for more than 4 cards: the number that leaves fewer empty places in the last row."""
    if count <= _MOST_COLUMNS:
        return count
    return min(range(3, _MOST_COLUMNS + 1), key=lambda columns: (-count % columns, -columns))


def _card(item: SheetItem, rank: int) -> Image.Image:
    card = Image.new("RGB", (_CARD_WIDTH, _PICTURE_HEIGHT + _CAPTION_HEIGHT), _CARD)
    card.paste((0, 0, 0), (0, 0, _CARD_WIDTH, _PICTURE_HEIGHT))
    draw = ImageDraw.Draw(card, "RGBA")
    if len(item.image):
        picture = _picture(item.image)
        card.paste(picture, ((_CARD_WIDTH - picture.width) // 2, (_PICTURE_HEIGHT - picture.height) // 2))
    else:
        middle = _CARD_WIDTH / 2, _PICTURE_HEIGHT / 2
        draw.text(middle, "the picture cannot be read", _MUTED, _font(17), anchor="mm")
    _badge(draw, str(rank))

    top, right = _PICTURE_HEIGHT + 13, _CARD_WIDTH - _PADDING
    draw.text((_PADDING, top), _fitted(item.time, _font(19), right - _PADDING), _BRIGHT, _font(19))
    draw.text((_PADDING, top + 28), _fitted(item.camera, _font(16), right - _PADDING), _MUTED, _font(16))
    if item.weight is not None:
        _bar(draw, (_PADDING, top + 62, right - 66, top + 70), min(max(item.weight, 0.0), 1.0))
        draw.text((right, top + 66), _percent(item.weight), _AMBER, _font(17), anchor="rm")
    draw.rounded_rectangle((0, 0, card.width - 1, card.height - 1), _RADIUS, outline=_EDGE)
    return card


def _badge(draw: ImageDraw.ImageDraw, text: str) -> None:
    """Draw the rank in the corner of the picture."""
    wide = max(30, int(_font(17).getlength(text)) + 18)
    draw.rounded_rectangle((12, 12, 12 + wide, 42), 15, fill=(*_GROUND, 205))
    draw.text((12 + wide / 2, 27), text, _BRIGHT, _font(17), anchor="mm")


def _bar(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], share: float) -> None:
    left, top, right, bottom = box
    radius = (bottom - top) // 2
    draw.rounded_rectangle(box, radius, fill=_TRACK)
    if share > 0:
        draw.rounded_rectangle(
            (left, top, max(left + 2 * radius, left + (right - left) * share), bottom), radius, fill=_AMBER
        )


def _picture(image: bytes | NDArray[np.uint8]) -> Image.Image:
    """Scale the frame to fit the card, without cropping."""
    if isinstance(image, bytes):
        with Image.open(io.BytesIO(image)) as opened:
            picture = opened.convert("RGB")
    else:
        picture = Image.fromarray(image)
    scale = min(_CARD_WIDTH / picture.width, _PICTURE_HEIGHT / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _rounded(size: tuple[int, int]) -> Image.Image:
    """Mask with rounded corners, antialiased by drawing it at twice the size."""
    mask = Image.new("L", (2 * size[0], 2 * size[1]), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 2 * _RADIUS, fill=255)
    return mask.resize(size, Image.Resampling.BOX)


def _percent(weight: float) -> str:
    return f"{weight:.0%}" if weight >= 0.1 else f"{weight:.1%}"


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _fitted(text: str, font: Font, width: float) -> str:
    """Shorten the text to fit one line, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    fits = bisect_right(range(1, len(text)), width, key=lambda length: font.getlength(f"{text[:length]}..."))
    return f"{text[:fits].rstrip()}..."


class _Header:
    """The question, and under it rows with lines between them, a mark and a caption. Its height is known before the sheet exists."""

    def __init__(
        self, title: str, rows: Sequence[tuple[str, str]], right: bool | None, caption: str, width: int
    ) -> None:
        self._width, self._right = width, right
        self._title = _Paragraphs(width)
        self._title.add(title, _font(34), _BRIGHT)
        self._caption = _Paragraphs(width)
        self._caption.add(caption, _font(18), _MUTED)
        self._rows: list[tuple[str, _Paragraphs]] = []
        for label, text in rows:
            value = _Paragraphs(width - _LABEL_WIDTH - (_MARK_WIDTH if right is not None else 0))
            value.add(text, _font(24), _BRIGHT if self._rows else _AMBER)
            self._rows.append((label, value))
        self.height = (
            self._title.height + sum(value.height + _PADDING for _, value in self._rows) + self._caption.height
        )
        self.height += _PADDING if rows and caption else 0

    def draw(self, sheet: Image.Image, left: int, top: int) -> None:
        """Draw with the upper left corner at (left, top)."""
        draw = ImageDraw.Draw(sheet)
        self._title.draw(sheet, left, top)
        top += self._title.height
        for number, (label, value) in enumerate(self._rows):
            if number:
                draw.line((left, top + _PADDING // 2, left + self._width - 1, top + _PADDING // 2), _EDGE, 2)
            top += _PADDING
            draw.text((left, top + 7), _fitted(label, _font(17), _LABEL_WIDTH - 8), _MUTED, _font(17))
            value.draw(sheet, left + _LABEL_WIDTH, top)
            if not number and self._right is not None:
                _mark(draw, left + self._width, top, right=self._right)
            top += value.height
        self._caption.draw(sheet, left, top + (_PADDING if self._rows else 0))


def _mark(draw: ImageDraw.ImageDraw, edge: int, top: int, *, right: bool) -> None:
    """Draw a tick and "right", or a cross and "wrong", that end at x = edge. Drawn, because the font has no such signs."""
    colour, word = (_GREEN, "right") if right else (_RED, "wrong")
    draw.rounded_rectangle((edge - 116, top, edge - 1, top + 32), 16, outline=colour, width=2)
    left, middle = edge - 100, top + 16
    if right:
        draw.line([(left, middle + 1), (left + 6, middle + 7), (left + 17, middle - 7)], colour, 4, joint="curve")
    else:
        draw.line((left + 2, middle - 7, left + 16, middle + 7), colour, 4)
        draw.line((left + 2, middle + 7, left + 16, middle - 7), colour, 4)
    draw.text((left + 28, middle), word, colour, _font(18), anchor="lm")


class _Paragraphs:
    """Wrapped paragraphs whose height is known before the sheet exists."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[tuple[str, Font, Colour, int]] = []
        self.height = 0

    def add(self, text: str, font: Font, colour: Colour) -> None:
        """Add a paragraph. An empty text adds nothing."""
        step = round(font.getbbox("Ag")[3] * 1.25)
        for line in _wrapped(text, font, self._width):
            self._lines.append((line, font, colour, self.height))
            self.height += step

    def draw(self, sheet: Image.Image, left: int, top: int) -> None:
        """Draw the paragraphs with their upper left corner at (left, top)."""
        draw = ImageDraw.Draw(sheet)
        for line, font, colour, below in self._lines:
            draw.text((left, top + below), line, colour, font)


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Wrap to lines of at most `width` pixels; shorten a word that is wider."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(_fitted(word, font, width))
    return lines
