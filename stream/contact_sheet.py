"""Contact sheets: frames with captions as one picture, under a header. Values in, a PNG or JPEG out. Uses Pillow only."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from afterview.stream.fonts import Fonts
from afterview.stream.sheet_parts import (
    AMBER,
    CARD,
    EDGE,
    GROUND,
    STYLES,
    Style,
    TextBlock,
    draw_badge,
    draw_bar,
    draw_line,
    rounded,
)

MOST_FRAMES = 100  # on one sheet

_MARGIN, _GAP, _PADDING, _RADIUS = 28, 16, 14, 12  # pixels
_WIDEST = {1: 1280, 2: 640, 3: 480, 4: 400}  # pixels of a card, by the number of columns
_NARROWEST = 320  # a card; shorter captions would be cut
_NARROWEST_HEADER = 720  # leaves room for a question above a single card
_CAPTION_HEIGHT, _BAR_HEIGHT = 74, 18  # pixels below a picture
_QUALITY = 92  # of a JPEG


@dataclass(frozen=True)
class SheetFrame:
    """One frame. image: what Pillow reads, or nothing; then `why` stands in its place.

    title, caption: below the picture, each on one line. value: at the end of the caption. share: 0..1, length of a bar on the same scale
    for all frames of all sheets; None: no bar. badge: a rank or the like, in the corner of the picture.
    """

    image: bytes
    title: str
    caption: str
    value: str = ""
    share: float | None = None
    why: str = "no image"
    badge: str = ""


@dataclass(frozen=True)
class SheetText:
    """A paragraph above or below the frames."""

    text: str
    style: Style = "plain"


@dataclass(frozen=True)
class SheetRow:
    """A text with a label on its left; lines separate rows. right: whether a mark beside it says right or wrong; None: no mark."""

    label: str
    text: str
    style: Style = "value"
    right: bool | None = None


@dataclass(frozen=True)
class Sheet:
    """A contact sheet. note: what it could not show; empty if there is nothing to say."""

    data: bytes
    note: str


def draw_sheet(
    frames: Sequence[SheetFrame],
    header: Sequence[SheetText | SheetRow] = (),
    footer: Sequence[SheetText | SheetRow] = (),
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
    above, below = (_block(texts, width, fonts) for texts in (header, footer))
    caption = _CAPTION_HEIGHT + (_BAR_HEIGHT if any(frame.share is not None for frame in frames) else 0)
    top = _MARGIN + (above.height + _GAP if above.height else 0)
    step = height + caption + _GAP
    end = top + -(-len(frames) // columns) * step
    sheet = Image.new("RGB", (width + 2 * _MARGIN, end + below.height + (_MARGIN if below.height else _MARGIN - _GAP)))
    sheet.paste(GROUND, (0, 0, *sheet.size))
    above.draw(sheet, _MARGIN, _MARGIN)
    for number, frame in enumerate(frames):
        place = _MARGIN + number % columns * (card_width + _GAP), top + number // columns * step
        _place_card(sheet, _card(frame, (card_width, height), caption, fonts), place)
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


def _block(texts: Sequence[SheetText | SheetRow], width: int, fonts: Fonts) -> TextBlock:
    block = TextBlock(width, fonts)
    for each in texts:
        if isinstance(each, SheetRow):
            block.add_row(each.label, each.text, each.style, each.right)
        else:
            block.add(each.text, each.style)
    return block


def _place_card(sheet: Image.Image, card: Image.Image, place: tuple[int, int]) -> None:
    """Put a card on the sheet, with rounded corners and an edge."""
    left, top = place
    sheet.paste(EDGE, (left, top, left + card.width, top + card.height), rounded(card.size, _RADIUS))
    inner = card.crop((1, 1, card.width - 1, card.height - 1))
    sheet.paste(inner, (left + 1, top + 1), rounded(inner.size, _RADIUS - 1))


def _card(frame: SheetFrame, size: tuple[int, int], caption: int, fonts: Fonts) -> Image.Image:
    """A frame with its caption. size: pixels for the picture; caption: pixels below it."""
    width, height = size
    card = Image.new("RGB", (width, height + caption), CARD)
    card.paste((0, 0, 0), (0, 0, width, height))
    if picture := _opened(frame.image):
        scale = min(width / picture.width, height / picture.height)
        scaled = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
        )
        card.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    else:
        why = _block([SheetText(frame.why, "small")], width - 2 * _PADDING, fonts)
        why.draw(card, _PADDING, (height - why.height) // 2)
    if frame.badge:
        draw_badge(card, frame.badge, (_PADDING - 2, _PADDING - 2), fonts)
    draw, right = ImageDraw.Draw(card), width - _PADDING
    draw_line(draw, (_PADDING, height + 10), frame.title, "plain", right - _PADDING, fonts)
    value_font, value = fonts.choose(frame.value, STYLES["small"][0])
    taken = round(value_font.getlength(value)) + _PADDING if value else 0
    draw_line(draw, (_PADDING, height + 40), frame.caption, "small", right - _PADDING - taken, fonts)
    draw.text((right, height + 40), value, AMBER, value_font, anchor="ra")
    if frame.share is not None:
        draw_bar(card, (_PADDING, height + 70, right, height + 78), frame.share)
    return card
