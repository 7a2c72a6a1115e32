"""The words of a model as they come: without what it thinks aloud, and no more of them than an answer has. Pure."""

from collections.abc import Callable

LONGEST = 16_000  # characters of an answer
_LOOP = 240  # characters of one repeated text that are a loop
_REPEATS = 4
_LONGEST_PERIOD = 200  # characters
_LOOK_EVERY = 32  # characters between two looks for a loop
_THINK, _THOUGHT = "<think>", "</think>"


class Words:
    """Collects an answer. `cut` says why it takes no more; empty while it does."""

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        """on_text receives each piece of the answer."""
        self.text, self.cut = "", ""
        self._on_text, self._held, self._thinking = on_text, "", True
        self._looked = 0

    def add(self, piece: str) -> None:
        """What the model said next. A thought at the beginning, `<think>...</think>`, is left out."""
        if self._thinking:
            self._held += piece
            begin = self._held.lstrip()
            if _THINK.startswith(begin[: len(_THINK)]) or begin.startswith(_THINK):
                end = begin.find(_THOUGHT)
                if end < 0:
                    self._held = begin if len(begin) < LONGEST else _THINK + begin[-len(_THOUGHT) :]
                    return
                begin = begin[end + len(_THOUGHT) :]
            self._thinking, self._held, piece = False, "", begin
        if not self.text:
            piece = piece.lstrip()
        room = LONGEST - len(self.text)
        if len(piece) > room:
            piece, self.cut = piece[:room], f"it was longer than {LONGEST} characters"
        self.text += piece
        if piece and self._on_text is not None:
            self._on_text(piece)
        if len(self.text) - self._looked >= _LOOK_EVERY and not self.cut:
            self._looked = len(self.text)
            if (kept := without_loop(self.text)) is not None:
                self.text, self.cut = kept, "it repeated itself without end"

    def end(self) -> None:
        """Nothing more comes: what was held back and is no thought is part of the answer."""
        if self._thinking and self._held and not self._held.lstrip().startswith(_THINK):
            self._thinking = False
            held, self._held = self._held, ""
            self.add(held)
        if not self.cut and (kept := without_loop(self.text)) is not None:
            self.text, self.cut = kept, "it repeated itself without end"

    @property
    def only_thought(self) -> bool:
        """Whether the model thought aloud, and said nothing."""
        return not self.text and self._held.lstrip().startswith(_THINK)


def without_loop(text: str) -> str | None:
    """The text with what it repeats at its end said once; None if it repeats nothing."""
    for period in range(1, min(_LONGEST_PERIOD, len(text) // _REPEATS) + 1):
        unit = text[-period:]
        if not text.endswith(unit * max(_REPEATS, -(-_LOOP // period))):
            continue
        start = len(text) - period
        while start > 0 and text[start - 1] == text[start - 1 + period]:
            start -= 1
        return text[: start + period]
    return None
