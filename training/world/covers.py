"""Things in the foreground that hide part of an object: a pillar, a hedge, a curtain. Opaque, in muted colours like the scenery.

Legend: h x w pixels of the cover.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.training.world.story import Event

_BEYOND: Final = 0.03  # share of the frame's width by which a cover extends beyond the object
_EDGE: Final = 0.72  # brightness of a cover's rim

Box = tuple[float, float, float, float]
Picture = NDArray[np.float32]  # [h, w, 3], 0..255


def cover_box(event: Event) -> Box:
    """Left, top, right and bottom of the event's cover, as shares of the frame."""
    assert event.cover is not None, "the event has a cover"
    left, top, right, bottom = event.box_at(event.start_s)
    across, down = event.cover.share * (right - left), event.cover.share * (bottom - top)
    return {
        "left": (left - _BEYOND, 0.0, left + across, 1.0),
        "right": (right - across, 0.0, right + _BEYOND, 1.0),
        "top": (left - _BEYOND, 0.0, right + _BEYOND, top + down),
        "bottom": (left - _BEYOND, bottom - down, right + _BEYOND, 1.0),
    }[event.cover.side]


def draw_cover(event: Event, frame: NDArray[np.uint8]) -> None:
    """Draw the cover on `frame` [H, W, 3], clipped at the edges."""
    height, width = frame.shape[:2]
    left, top, right, bottom = cover_box(event)
    x0, x1 = max(0, round(left * width)), min(width, round(right * width))
    y0, y1 = max(0, round(top * height)), min(height, round(bottom * height))
    assert event.cover is not None
    picture = _PAINTERS[event.cover.thing](y1 - y0, x1 - x0)
    rim = max(1, height // 90)
    picture[:rim] *= _EDGE
    picture[-rim:] *= _EDGE
    picture[:, :rim] *= _EDGE
    picture[:, -rim:] *= _EDGE
    frame[y0:y1, x0:x1] = picture.astype(np.uint8)


def _pillar(height: int, width: int) -> Picture:
    """Round stone, light in the middle."""
    light = 0.7 + 0.3 * np.sin(np.linspace(0.15, np.pi - 0.15, width))
    return _lit((156, 148, 136), np.broadcast_to(light, (height, width)))


def _hedge(height: int, width: int) -> Picture:
    """Dark leaves: two crossing waves."""
    y, x = np.mgrid[0:height, 0:width]
    return _lit((74, 84, 62), 0.85 + 0.15 * np.sin(x * 0.9 + np.sin(y * 0.4)) * np.sin(y * 0.8))


def _curtain(height: int, width: int) -> Picture:
    """Vertical folds."""
    light = 0.82 + 0.18 * np.sin(np.arange(width) * 0.35)
    return _lit((120, 104, 112), np.broadcast_to(light, (height, width)))


_PAINTERS: dict[str, Callable[[int, int], Picture]] = {"curtain": _curtain, "hedge": _hedge, "pillar": _pillar}


def _lit(colour: tuple[int, int, int], light: NDArray[np.floating]) -> Picture:
    return (np.array(colour) * light[..., None]).astype(np.float32)
