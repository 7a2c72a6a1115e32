"""Contact sheets: frames with captions as one picture, under a header. Values in, a PNG or JPEG out. Uses Pillow only."""

import io
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from afterview.stream.fonts import Font, Fonts

Colour = tuple[int, int, int]
Style = Literal["title", "result", "plain", "small"]

MOST_FRAMES = 100  # on one sheet

_GROUND: Colour = (17, 19, 24)
_CARD: Colour = (29, 32, 40)
_EDGE: Colour = (48, 53, 64)
_BRIGHT: Colour = (240, 242, 246)
_MUTED: Colour = (160, 168, 184)
_AMBER: Colour = (255, 183, 77)
_TRACK: Colour = (52, 57, 69)
_STYLES: dict[Style, tuple[int, Colour]] = {  # size of the font in pixels, colour
    "title": (30, _BRIGHT),
    "result": (24, _AMBER),
    "plain": (18, _BRIGHT),
    "small": (16, _MUTED),
}
_MARGIN, _GAP, _PADDING = 28, 16, 14  # pixels
_WIDEST = {1: 1280, 2: 640, 3: 480, 4: 400}  # pixels of a card, by the number of columns
_NARROWEST = 320  # a card; shorter captions would be cut
_NARROWEST_HEADER = 720  # leaves room for a question above a single card
_LINE = 1.3  # line height, of the font size
_QUALITY = 92  # of a JPEG


@dataclass(frozen=True)
class SheetFrame:
    """One frame. image: what Pillow reads, or nothing; then `why` stands in its place.

    title, caption: below the picture, each on one line. value: at the end of the caption. share: 0..1, length of a bar on the same scale
    for all frames of all sheets; None: no bar.
    """

    image: bytes
    title: str
    caption: str
    value: str = ""
    share: float | None = None
    why: str = "no image"


@dataclass(frozen=True)
class SheetText:
    """A paragraph above or below the frames."""

    text: str
    style: Style = "plain"


@dataclass(frozen=True)
class Sheet:
    """A contact sheet. note: what it could not show; empty if there is nothing to say."""

    data: bytes
    note: str


def draw_sheet(
    frames: Sequence[SheetFrame],
    header: Sequence[SheetText] = (),
    footer: Sequence[SheetText] = (),
    *,
    format: Literal["PNG", "JPEG"] = "PNG",
) -> Sheet:
    """Draw the frames in the given order. Few frames are shown larger, up to their own size; a single one fills the sheet."""
    fonts = Fonts()
    sizes = [size for frame in frames if (size := _size(frame.image))]
    columns = _columns(len(frames))
    wide = max((width for width, _ in sizes), default=_NARROWEST)
    card_width = min(max(wide, _NARROWEST if columns > 1 else _NARROWEST_HEADER), _WIDEST[columns])
    height = round(card_width * _aspect(sizes))
    width = max(columns * card_width + (columns - 1) * _GAP, _NARROWEST_HEADER)
    above, below = (_Paragraphs(texts, width, fonts) for texts in (header, footer))
    cards = [_card(frame, (card_width, height), fonts) for frame in frames]
    top = _MARGIN + (above.height + _GAP if above.height else 0)
    step = cards[0].height + _GAP if cards else 0
    end = top + -(-len(cards) // columns) * step
    sheet = Image.new("RGB", (width + 2 * _MARGIN, end + below.height + (_MARGIN if below.height else _MARGIN - _GAP)))
    sheet.paste(_GROUND, (0, 0, *sheet.size))
    above.draw(sheet, _MARGIN, _MARGIN)
    for number, card in enumerate(cards):
        left = _MARGIN + number % columns * (card_width + _GAP)
        sheet.paste(card, (left, top + number // columns * step))
    below.draw(sheet, _MARGIN, end)
    file = io.BytesIO()
    sheet.save(file, format, **({"quality": _QUALITY} if format == "JPEG" else {}))
    return Sheet(file.getvalue(), fonts.note())


def _columns(count: int) -> int:
    """1 or 2 for up to 4 frames, else 3 or 4: the number that leaves fewer empty places in the last row."""
    if count <= 4:
        return max(1, min(count, 2)) if count != 3 else 3
    return min((3, 4), key=lambda columns: (-count % columns, -columns))


def _size(image: bytes) -> tuple[int, int] | None:
    """Width and height, without decoding: all frames together may be large."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError):  # Pillow's errors for what is no picture
        return None


def _opened(image: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None


def _aspect(sizes: Sequence[tuple[int, int]]) -> float:
    """Height by width of the cards' pictures: the median, so that most fill their card."""
    found = sorted(height / width for width, height in sizes)
    return min(max(found[len(found) // 2], 0.4), 1.0) if found else 9 / 16


def _card(frame: SheetFrame, size: tuple[int, int], fonts: Fonts) -> Image.Image:
    """A frame with its caption, `size` pixels for the picture."""
    width, height = size
    card = Image.new("RGB", (width, height + (92 if frame.share is not None else 74)), _CARD)
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, width, height - 1), (0, 0, 0))
    if picture := _opened(frame.image):
        scale = min(width / picture.width, height / picture.height)
        scaled = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
        )
        card.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    else:
        why = _Paragraphs([SheetText(frame.why, "small")], width - 2 * _PADDING, fonts)
        why.draw(card, _PADDING, (height - why.height) // 2)
    right = width - _PADDING
    _line(draw, (_PADDING, height + 10), frame.title, "plain", right - _PADDING, fonts)
    value_font, value = fonts.choose(frame.value, _STYLES["small"][0])
    taken = round(value_font.getlength(value)) + _PADDING if value else 0
    _line(draw, (_PADDING, height + 40), frame.caption, "small", right - _PADDING - taken, fonts)
    draw.text((right, height + 40), value, _AMBER, value_font, anchor="ra")
    if frame.share is not None:
        draw.rectangle((_PADDING, height + 72, right, height + 77), _TRACK)
        draw.rectangle(
            (_PADDING, height + 72, _PADDING + (right - _PADDING) * min(max(frame.share, 0.0), 1.0), height + 77),
            _AMBER,
        )
    draw.rectangle((0, 0, card.width - 1, card.height - 1), outline=_EDGE)
    return card


def _line(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, style: Style, width: float, fonts: Fonts
) -> None:
    size, colour = _STYLES[style]
    font, text = fonts.choose(text, size)
    draw.text(place, _fitted(text, font, width), colour, font, anchor="la", direction=_direction(font))


def _direction(font: Font) -> str | None:
    """Our own lines go from left to right, whatever the script of a camera's name. None: the font knows no other direction."""
    return "ltr" if getattr(font, "layout_engine", None) == ImageFont.Layout.RAQM else None


def _fitted(text: str, font: Font, width: float) -> str:
    """Shorten a text to one line, with an ellipsis. What stands behind the last comma stays: the number of a frame."""
    if font.getlength(text) <= width:
        return text
    head, comma, end = text.rpartition(", ")
    if font.getlength(f"...{comma}{end}") > width / 2:
        head, comma, end = text, "", ""
    most = bisect(range(len(head)), width, key=lambda count: font.getlength(f"{head[:count]}...{comma}{end}")) - 1
    return f"{head[: max(most, 0)].rstrip()}...{comma}{end}"


class _Paragraphs:
    """Wrapped paragraphs whose height is known before they are drawn."""

    def __init__(self, texts: Sequence[SheetText], width: int, fonts: Fonts) -> None:
        self._lines: list[tuple[str, Font, Colour, str | None, int]] = []
        self.height = 0
        for line, style in ((line, paragraph.style) for paragraph in texts for line in paragraph.text.splitlines()):
            size, colour = _STYLES[style]
            font, text = fonts.choose(line, size)
            direction = None if style == "title" else _direction(font)  # a question goes as its script does
            for piece in _wrapped(text, font, width):
                self._lines.append((piece, font, colour, direction, self.height))
                self.height += round(size * _LINE)

    def draw(self, sheet: Image.Image, left: int, top: int) -> None:
        """Draw the paragraphs with their upper left corner at (left, top)."""
        draw = ImageDraw.Draw(sheet)
        for line, font, colour, direction, below in self._lines:
            draw.text((left, top + below), line, colour, font, anchor="la", direction=direction)


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
