"""How an answer is generated: greedy or sampled, how long, and where it stops. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from afterview.configs import Schema, UsageError, first_problem

DEFAULT_MAX_NEW_TOKENS = 256


@dataclass
class Generated:
    """What became of one answer, filled in while it is generated.

    tokens: how many were generated, without the one that ends an answer. cut: it ended because max_new_tokens were reached.
    names_corrected: names for a look that are not what the model would have said (model.language.copied_names). names_unmatched: those
    that the model said although they do not fit the question.
    """

    tokens: int = 0
    cut: bool = False
    names_corrected: int = 0
    names_unmatched: int = 0


class GenerationSettings(Schema):
    """Settings of one answer. The defaults are greedy.

    The order is that of transformers: repetition penalty, temperature, top-k, top-p, then the draw from the seed. The penalty counts the
    tokens of the answer, not those of the prompt (the published code passes embeddings, so transformers sees no prompt tokens either).
    """

    temperature: float = Field(default=0.0, ge=0, le=100, allow_inf_nan=False)  # 0: the most likely token, no draw
    top_p: float = Field(default=1.0, gt=0, le=1)  # draw from the most likely tokens with this share of the probability
    top_k: int = Field(default=0, ge=0)  # draw from this many of the most likely tokens; 0: from all
    repetition_penalty: float = Field(default=1.0, gt=0, le=100)  # above 1: tokens of the answer become less likely
    max_new_tokens: int = Field(default=DEFAULT_MAX_NEW_TOKENS, ge=1)
    stop: tuple[str, ...] = ()  # texts that end the answer; they are not part of it

    @property
    def sampled(self) -> bool:
        """Whether tokens are drawn, so that the answer depends on the seed."""
        return self.temperature > 0

    def changed(self, changes: Mapping[str, Any]) -> "GenerationSettings":
        """The same with some settings replaced; None keeps a setting. Raises UsageError for a value that is out of range."""
        given = {name: value for name, value in changes.items() if value is not None}
        if any(not text for text in given.get("stop", ())):
            raise UsageError("stop: a text is empty; give the text that ends the answer")
        try:
            return GenerationSettings.model_validate({**self.model_dump(), **given})
        except ValidationError as error:
            raise UsageError(first_problem(error)) from None

    def document(self) -> dict[str, Any]:
        """As JSON, for an answer's provenance."""
        return self.model_dump(mode="json")
