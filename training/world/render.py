"""A script's picture at any time: uint8 [H, W, 3], a pure function of (script, t, size).

Panoramas and sprites are drawn once. A frame is a window of a panorama plus a few sprites. Memory does not grow with
the length of the story.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from afterview.training.base.errors import WorldError
from afterview.training.world.covers import draw_cover
from afterview.training.world.scenery import panorama
from afterview.training.world.sprites import Sprite, event_sprite, passer_sprite
from afterview.training.world.story import COVER_MARGIN_S, Event, Script, StorySegment
from afterview.training.world.vocabulary import camera_number

_TURNS = 2  # frame widths of a panorama before it repeats
_LIGHT_STEPS_PER_HOUR = 12  # the light changes every five minutes, so a lit panorama serves thousands of frames
_HOURS = (0.0, 5.0, 6.5, 8.0, 17.0, 19.0, 21.0, 24.0)
_LIGHT = np.array(  # share of red, green and blue at these hours: night, dawn, day, dusk, night
    [(0.56, 0.61, 0.78)] * 2
    + [(0.96, 0.84, 0.78)]
    + [(1.0, 1.0, 1.0)] * 2
    + [(0.98, 0.80, 0.70)]
    + [(0.56, 0.61, 0.78)] * 2
)


class Renderer:
    """Draws one script at one size. Not thread-safe, because it caches panoramas."""

    def __init__(self, script: Script, *, width: int = 640, height: int = 360) -> None:
        """Raises WorldError below 64x36 pixels, at which nothing is recognisable."""
        if width < 64 or height < 36:
            raise WorldError(f"a world of {width}x{height} pixels cannot be seen; it needs at least 64x36")
        self.script, self.width, self.height = script, width, height
        self._passer = passer_sprite(width, height)
        self._sprites: dict[tuple[str, str | None], Sprite] = {}
        self._panoramas: dict[str, NDArray[np.uint8]] = {}
        self._lit: tuple[tuple[str, int], NDArray[np.uint8]] | None = None

    def frame(self, t: float) -> NDArray[np.uint8]:
        """The picture at story time `t` (seconds), a new uint8 [H, W, 3]."""
        segment = self.script.segment_at(t)
        elapsed = t - segment.start_s
        offset = int((segment.offset * _TURNS + segment.drift * elapsed) * self.width) % (_TURNS * self.width)
        picture = self._scenery(segment, t)[:, offset : offset + self.width].copy()
        across = (segment.offset + segment.passer_speed * elapsed) % 1.4 - 0.2  # it leaves the frame and returns
        self._passer.stamp(picture, across * self.width, segment.passer_height * self.height)
        for event in self.script.visible_at(t):
            x, y = event.centre_at(t)
            self._sprite(event.as_of(t)).stamp(picture, x * self.width, y * self.height)
        for event in self.script.around(t, COVER_MARGIN_S):
            if event.cover is not None:
                draw_cover(event, picture)
        return picture

    def _scenery(self, segment: StorySegment, t: float) -> NDArray[np.uint8]:
        """The scene's panorama in the light of the hour, one frame wider than its period, [H, 3W, 3]."""
        step = int((self.script.start_hour + t / 3600) * _LIGHT_STEPS_PER_HOUR) % (24 * _LIGHT_STEPS_PER_HOUR)
        if self._lit is None or self._lit[0] != (segment.scene, step):
            if segment.scene not in self._panoramas:
                drawn = panorama(
                    segment.scene,
                    self.script.seed,
                    self.height,
                    _TURNS * self.width,
                    view=camera_number(self.script.camera),
                )
                self._panoramas[segment.scene] = np.concatenate([drawn, drawn[:, : self.width]], axis=1)
            self._lit = (segment.scene, step), _light(self._panoramas[segment.scene], step / _LIGHT_STEPS_PER_HOUR)
        return self._lit[1]

    def frame_with(self, t: float, things: Sequence[Event]) -> NDArray[np.uint8]:
        """The picture at `t` with further things, each at its first place."""
        picture = self.frame(t)
        for event in things:
            x, y = event.enters
            self._sprite(event).stamp(picture, x * self.width, y * self.height)
        return picture

    def _sprite(self, event: Event) -> Sprite:
        key = event.name, event.size
        if key not in self._sprites:
            self._sprites[key] = event_sprite(event, self.width, self.height)
        return self._sprites[key]


def _light(picture: NDArray[np.uint8], hour: float) -> NDArray[np.uint8]:
    """The picture [H, P, 3] in the light of an hour, by one table of 256 values per channel."""
    lit = np.empty_like(picture)
    for channel in range(3):
        table = (np.arange(256) * np.interp(hour, _HOURS, _LIGHT[:, channel])).astype(np.uint8)
        np.take(table, picture[..., channel], out=lit[..., channel])
    return lit
