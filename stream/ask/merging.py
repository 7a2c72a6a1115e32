"""Merges texts that are generated in parallel, in a fixed order.

The first is streamed; a later one follows when all earlier ones are complete.
"""

from collections.abc import Callable, Sequence

OnText = Callable[[str], None]


class OrderedMerger:
    """Collects the texts and passes their pieces to one reader in the order of the texts, each after its title."""

    def __init__(self, titles: Sequence[str], on_text: OnText | None) -> None:
        """titles: what precedes each text; empty for a single text."""
        self.texts = [""] * len(titles)
        self._titles, self._on_text = titles, on_text
        self._ended = [False] * len(titles)
        self._at = self._sent = 0  # the text that is being passed on, and how many of its characters (with its title)

    def push(self, row: int, piece: str) -> None:
        """A further piece of one text."""
        self.texts[row] += piece
        self._forward()

    def end(self, row: int) -> None:
        """This text is complete."""
        self._ended[row] = True
        self._forward()

    def merged(self) -> str:
        """All texts, without the white space around each."""
        return "\n".join(title + text.strip() for title, text in zip(self._titles, self.texts, strict=True))

    def _forward(self) -> None:
        while self._at < len(self.texts):
            whole = ("\n" if self._at else "") + self._titles[self._at] + self.texts[self._at]
            if self._on_text and len(whole) > self._sent:
                self._on_text(whole[self._sent :])
            self._sent = len(whole)
            if not self._ended[self._at]:
                return
            self._at, self._sent = self._at + 1, 0
