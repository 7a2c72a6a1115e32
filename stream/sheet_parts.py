"""What contact sheets are drawn of: paragraphs, labelled rows, bars, badges and marks, with smooth edges. Uses Pillow only."""

from bisect import bisect
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from afterview.stream.fonts import Font, Fonts

Colour = tuple[int, int, int]
Style = Literal["title", "result", "value", "plain", "small"]

GROUND: Colour = (17, 19, 24)
CARD: Colour = (29, 32, 40)
EDGE: Colour = (48, 53, 64)
BRIGHT: Colour = (240, 242, 246)
MUTED: Colour = (160, 168, 184)
AMBER: Colour = (255, 183, 77)
TRACK: Colour = (52, 57, 69)
GREEN: Colour = (102, 187, 106)
RED: Colour = (239, 83, 80)
STYLES: dict[Style, tuple[int, Colour]] = {  # size of the font in pixels, colour
    "title": (30, BRIGHT),
    "result": (24, AMBER),
    "value": (24, BRIGHT),
    "plain": (18, BRIGHT),
    "small": (16, MUTED),
}
_LINE = 1.3  # line height, of the font size
_ROW_GAP = 16  # pixels between two rows; a line is in its middle
_LABEL_WIDTH, _LABEL_DROP = 96, 7  # pixels; the drop puts a label on the base line of its text
_MARK_SIZE = 112, 32  # pixels
_FINER = 4  # edges are drawn so many times larger and reduced


class TextBlock:
    """Wrapped paragraphs and labelled rows. The height is known before they are drawn."""

    def __init__(self, width: int, fonts: Fonts) -> None:
        self._width, self._fonts = width, fonts
        self._lines: list[tuple[int, int, str, Font, Colour, str | None]] = []
        self._rules: list[int] = []
        self._marks: list[tuple[int, bool]] = []
        self._ends_in_row = False
        self.height = 0

    def add(self, text: str, style: Style) -> None:
        """Add a paragraph; each line of the text begins a new one. An empty text adds nothing."""
        if text.strip() and self._ends_in_row:
            self.height += _ROW_GAP
            self._ends_in_row = False
        self._wrap(text, style, 0, self._width)

    def add_row(self, label: str, text: str, style: Style, right: bool | None) -> None:
        """Add a text with a label on its left, and with a mark at its right end. A line separates it from a row above."""
        if self._ends_in_row:
            self._rules.append(self.height + _ROW_GAP // 2)
        self.height += _ROW_GAP if self._lines else 0
        size, colour = STYLES["small"]
        font, label = self._fonts.choose(label, size)
        shown = fitted(label, font, _LABEL_WIDTH - 8)
        self._lines.append((0, self.height + _LABEL_DROP, shown, font, colour, _direction(font)))
        if right is not None:
            self._marks.append((self.height, right))
        least = self.height + round(STYLES[style][0] * _LINE)
        taken = _LABEL_WIDTH + (_MARK_SIZE[0] + _ROW_GAP if right is not None else 0)
        self._wrap(text, style, _LABEL_WIDTH, self._width - taken)
        self.height = max(self.height, least)
        self._ends_in_row = True

    def _wrap(self, text: str, style: Style, left: int, width: int) -> None:
        size, colour = STYLES[style]
        for line in text.splitlines():
            font, shown = self._fonts.choose(line, size)
            direction = None if style == "title" else _direction(font)  # a question goes as its script does
            for piece in _wrapped(shown, font, width):
                self._lines.append((left, self.height, piece, font, colour, direction))
                self.height += round(size * _LINE)

    def draw(self, sheet: Image.Image, left: int, top: int) -> None:
        """Draw the block with its upper left corner at (left, top)."""
        draw = ImageDraw.Draw(sheet)
        for y in self._rules:
            draw.rectangle((left, top + y, left + self._width - 1, top + y + 1), EDGE)
        for x, y, line, font, colour, direction in self._lines:
            draw.text((left + x, top + y), line, colour, font, anchor="la", direction=direction)
        for y, right in self._marks:
            _mark(sheet, left + self._width, top + y, self._fonts, right=right)


def draw_line(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, style: Style, width: float, fonts: Fonts
) -> None:
    """Draw a text on one line, shortened to `width` pixels. place: its upper left corner."""
    size, colour = STYLES[style]
    font, text = fonts.choose(text, size)
    draw.text(place, fitted(text, font, width), colour, font, anchor="la", direction=_direction(font))


def draw_badge(card: Image.Image, text: str, place: tuple[int, int], fonts: Fonts) -> None:
    """Draw a short text on a dark pill. place: the pill's upper left corner."""
    font, text = fonts.choose(text, 17)
    left, top, height = *place, 30
    width = max(height, round(font.getlength(text)) + 18)
    dark = rounded((width, height), height // 2).point(lambda value: value * 4 // 5)
    card.paste(GROUND, (left, top, left + width, top + height), dark)
    ImageDraw.Draw(card).text((left + width / 2, top + height / 2), text, BRIGHT, font, anchor="mm")


def draw_bar(card: Image.Image, box: tuple[int, int, int, int], share: float) -> None:
    """Draw a bar that is full at a share of 1."""
    left, top, right, bottom = box
    size = right - left, bottom - top
    card.paste(TRACK, box, rounded(size, size[1] // 2))
    if length := round(size[0] * min(max(share, 0.0), 1.0)):
        card.paste(AMBER, (left, top, left + length, bottom), rounded((length, size[1]), min(size[1], length) // 2))


@lru_cache(maxsize=32)
def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """Mask of a rectangle with rounded corners. radius: pixels."""
    mask = Image.new("L", (_FINER * size[0], _FINER * size[1]), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), _FINER * radius, fill=255)
    return mask.reduce(_FINER)


def _mark(sheet: Image.Image, edge: int, top: int, fonts: Fonts, *, right: bool) -> None:
    """Draw a tick and "right", or a cross and "wrong", that end at x = edge. Drawn: many fonts have no such signs."""
    colour, word = (GREEN, "right") if right else (RED, "wrong")
    (width, height), left = _MARK_SIZE, edge - _MARK_SIZE[0]
    pill = rounded((width, height), height // 2).copy()
    pill.paste(0, (2, 2, width - 2, height - 2), rounded((width - 4, height - 4), height // 2 - 2))
    sheet.paste(colour, (left, top, edge, top + height), pill)
    sign = Image.new("L", (_FINER * 20, _FINER * 20), 0)
    strokes = [[(2, 11), (7, 16), (18, 4)]] if right else [[(4, 4), (16, 16)], [(4, 16), (16, 4)]]
    for stroke in strokes:
        points = [(_FINER * x, _FINER * y) for x, y in stroke]
        ImageDraw.Draw(sign).line(points, 255, 3 * _FINER, joint="curve")
    font, word = fonts.choose(word, 18)
    inset = (width - 26 - round(font.getlength(word))) // 2  # sign and word together in the middle
    sheet.paste(colour, (left + inset, top + 6, left + inset + 20, top + 26), sign.reduce(_FINER))
    ImageDraw.Draw(sheet).text((left + inset + 26, top + height // 2), word, colour, font, anchor="lm")


def fitted(text: str, font: Font, width: float) -> str:
    """Shorten a text to one line, with an ellipsis. What stands behind the last comma stays: the number of a frame."""
    if font.getlength(text) <= width:
        return text
    head, comma, end = text.rpartition(", ")
    if font.getlength(f"...{comma}{end}") > width / 2:
        head, comma, end = text, "", ""
    most = bisect(range(len(head)), width, key=lambda count: font.getlength(f"{head[:count]}...{comma}{end}")) - 1
    return f"{head[: max(most, 0)].rstrip()}...{comma}{end}"


def _direction(font: Font) -> str | None:
    """Our own lines go from left to right, whatever the script of a camera's name. None: the font knows no other direction."""
    return "ltr" if getattr(font, "layout_engine", None) == ImageFont.Layout.RAQM else None


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Lines of at most `width` pixels. A word that is wider is broken: some scripts have no spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
