"""When a source of single pictures counts as lost. Pure.

Between two pictures such a source may send nothing for long: a time-lapse camera sends one in 15 s. So the limit follows its own pace:
four of its longest steps in ten minutes (some send many pictures when something moves, and few otherwise), at least `read_timeout_s`, at
most six times that. The first three pictures have six times that. Within a picture, `read_timeout_s` counts.
"""

MOST_TIMEOUTS = 6
_STEPS = 4  # longest steps that may pass
_REMEMBERED_S = 600.0


class PictureSilence:
    """Of one connection. Times in seconds on any clock."""

    def __init__(self, read_timeout_s: float, now: float) -> None:
        self.read_timeout_s = read_timeout_s
        self.longest_s = MOST_TIMEOUTS * read_timeout_s
        self._longest: tuple[float, float] = (0.0, now)  # the longest step, and when it ended
        self._picture_at = self._byte_at = now
        self._pictures = 0

    def bytes_came(self, now: float) -> None:
        """Something came, perhaps no picture."""
        self._byte_at = now

    def picture_came(self, now: float) -> None:
        """A picture is complete."""
        step = now - self._picture_at
        if self._pictures and (step >= self._longest[0] or now - self._longest[1] > _REMEMBERED_S):
            self._longest = step, now
        self._pictures += 1
        self._picture_at = self._byte_at = now

    def paused(self, seconds: float) -> None:
        """So long nothing was read: that is no silence of the source."""
        self._picture_at += seconds
        self._byte_at += seconds

    @property
    def limit_s(self) -> float:
        """How long the next picture may take."""
        if self._pictures < 3:
            return self.longest_s
        return min(self.longest_s, max(self.read_timeout_s, _STEPS * self._longest[0]))

    def left_s(self, now: float, *, inside: bool) -> float:
        """Seconds until the source is lost; inside: a picture has begun."""
        left_s = self._picture_at + self.limit_s - now
        return min(left_s, self._byte_at + self.read_timeout_s - now) if inside else left_s

    def reason(self, now: float, *, inside: bool) -> str:
        """What is said when it is lost, with the limit that was passed."""
        silent_s = now - self._byte_at
        if inside and silent_s >= self.read_timeout_s:
            return f"no data for {silent_s:.0f} s in the middle of a picture (--read-timeout {self.read_timeout_s:g})"
        limit = f"its pictures may take {self.limit_s:g} s; longer with --read-timeout above {self.read_timeout_s:g}"
        if silent_s >= min(self.limit_s, now - self._picture_at) - 0.5:
            return f"no data for {silent_s:.0f} s ({limit})"
        return f"data, but no picture for {now - self._picture_at:.0f} s ({limit})"
