"""What the index is asked for a question: a value alone, so that saved searches are read without the rule (stream.ask.captions)."""

from dataclasses import dataclass
from typing import Literal

How = Literal["rule", "as given", "other language", "nothing left"]


@dataclass(frozen=True)
class Caption:
    """What the index is asked, and how that came to be."""

    text: str
    how: How

    @property
    def changed(self) -> bool:
        """Whether it is not the text that was given."""
        return self.how == "rule"
