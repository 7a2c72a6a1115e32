"""Contact sheet of an answer: question, answer and evidence frames in one PNG, highest weight first. Uses Pillow only."""

import io
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

_MARGIN, _GAP, _PADDING, _RADIUS = 36, 20, 16, 12  # pixels
_CARD_WIDTH = 384
_PICTURE_HEIGHT = _CARD_WIDTH * 9 // 16  # frames of other aspect ratios are letterboxed
_CAPTION_HEIGHT = 100
_MOST_COLUMNS = 4
_FEWEST_COLUMNS = 2  # leaves enough width for a question


@dataclass(frozen=True)
class SheetItem:
    """One evidence frame."""

    image: bytes | NDArray[np.uint8]  # JPEG or another format that Pillow reads, or uint8 [H, W, 3]
    camera: str
    time: str  # in the camera's time zone: "2026-11-20 14:02:11 +01:00"
    weight: float | None = None  # share of the attention, 0..1


def contact_sheet(items: Sequence[SheetItem], title: str, *, subtitle: str = "", footer: str = "") -> bytes:
    """Return a PNG that shows the items in the given order.

    title: the question. subtitle: the answer. footer: small print, such as the model's notice. The length of a weight bar is relative
    to the highest weight; its label is the weight itself. Without items the sheet states that there is no evidence.
    """
    columns = min(max(_columns(len(items)), _FEWEST_COLUMNS), _MOST_COLUMNS)
    rows = -(-len(items) // columns)
    width = 2 * _MARGIN + columns * _CARD_WIDTH + (columns - 1) * _GAP
    header = _Paragraphs(width - 2 * _MARGIN)
    header.add(title, _font(34), _BRIGHT)
    header.add(subtitle, _font(24), _AMBER)
    closing = _Paragraphs(width - 2 * _MARGIN)
    closing.add(footer if items else f"There is no evidence for this answer. {footer}".strip(), _font(16), _MUTED)

    card_height = _PICTURE_HEIGHT + _CAPTION_HEIGHT
    top = _MARGIN + header.height + (_GAP if header.height else 0)
    height = top + rows * (card_height + _GAP) + closing.height + _MARGIN - (0 if closing.height else _GAP)
    sheet = Image.new("RGB", (width, height), _GROUND)
    header.draw(sheet, _MARGIN, _MARGIN)
    heaviest = max((item.weight or 0.0 for item in items), default=0.0)
    for number, item in enumerate(items):
        left = _MARGIN + number % columns * (_CARD_WIDTH + _GAP)
        card = _card(item, number + 1, heaviest)
        sheet.paste(card, (left, top + number // columns * (card_height + _GAP)), _rounded(card.size))
    closing.draw(sheet, _MARGIN, top + rows * (card_height + _GAP))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _columns(count: int) -> int:
    """Choose 3 or 4 columns for more than 4 cards: the number that leaves fewer empty places in the last row."""
    if count <= _MOST_COLUMNS:
        return count
    return min(range(3, _MOST_COLUMNS + 1), key=lambda columns: (-count % columns, -columns))


def _card(item: SheetItem, rank: int, heaviest: float) -> Image.Image:
    card = Image.new("RGB", (_CARD_WIDTH, _PICTURE_HEIGHT + _CAPTION_HEIGHT), _CARD)
    picture = _picture(item.image)
    frame = Image.new("RGB", (_CARD_WIDTH, _PICTURE_HEIGHT), (0, 0, 0))
    frame.paste(picture, ((_CARD_WIDTH - picture.width) // 2, (_PICTURE_HEIGHT - picture.height) // 2))
    card.paste(frame, (0, 0))
    draw = ImageDraw.Draw(card, "RGBA")
    _badge(draw, str(rank))

    top, right = _PICTURE_HEIGHT + 13, _CARD_WIDTH - _PADDING
    draw.text((_PADDING, top), _fitted(item.time, _font(19), right - _PADDING), _BRIGHT, _font(19))
    draw.text((_PADDING, top + 28), _fitted(item.camera, _font(16), right - _PADDING), _MUTED, _font(16))
    if item.weight is not None:
        share = min(max(item.weight / heaviest, 0.0), 1.0) if heaviest > 0 else 0.0
        _bar(draw, (_PADDING, top + 62, right - 66, top + 70), share)
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
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


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
