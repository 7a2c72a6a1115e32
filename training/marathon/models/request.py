"""What a model is asked, and what it says. A request knows its key, by which its answer is kept."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel

from afterview.training.marathon.models.shapes import schema_of

Purpose = Literal[
    "clip_caption",
    "events",
    "event_caption",
    "global_caption",
    "questions",
    "agreed_caption",
    "answers",
    "compare",
    "blind",
]
PURPOSES: Final[tuple[Purpose, ...]] = (
    "clip_caption", "events", "event_caption", "global_caption", "questions", "agreed_caption", "answers", "compare", "blind",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A picture that goes with a request. at_s: its time in the video."""

    at_s: float
    jpeg: bytes


def no_pictures() -> list[Shown]:
    """For a request without pictures."""
    return []


@dataclass(frozen=True)
class Request:
    """A question to a model, complete but for the model.

    item: the name of the row that it is about. source: what tells the video from others of its name. data: what the last message says, as
    JSON: a prompt has it as a fenced block, and exact models read it. shape: of the answer. check: raises ValueError for an answer that
    does not fit the data. pictures: called only if the request is sent.
    """

    purpose: Purpose
    item: str
    source: str
    messages: tuple[Mapping[str, str], ...]
    prompt_hash: str
    data: Mapping[str, Any]
    shape: type[BaseModel]
    seed: int
    check: Callable[[Any], None] = field(default=lambda answer: None)
    pictures: Callable[[], list[Shown]] = field(default=no_pictures)
    picture_times: tuple[float, ...] = ()
    picture_size: int = 0  # short side, pixels
    entries: tuple[int, int] | None = None  # fewest and most of the list that is asked for, which the data says, too

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer, for decoding that is held to it."""
        return schema_of(self.shape, self.entries)

    def key(self, model: str, repairs: tuple[str, ...] = ()) -> str:
        """Hash of everything that decides the answer. model: its identity. repairs: what was wrong with the answers before.

        Of pictures count their times and their size, and of the video its identity: they need not be decoded to find a kept answer.
        """
        said = [
            model, self.purpose, self.item, self.source, self.prompt_hash, list(map(dict, self.messages)), self.shape.__name__,
            self.shape.model_json_schema(), self.seed, list(self.picture_times), self.picture_size, list(repairs),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Said:
    """The words of a model. tokens: of the prompt and of the answer, where they are counted. cut: why it was ended early."""

    text: str
    tokens: tuple[int, int] | None = None
    cut: str = ""


class Model(Protocol):
    """Answers requests. Used from several threads at once."""

    @property
    def identity(self) -> str:
        """What decides its answers: a name, an address, rates of mistakes."""

    @property
    def at_once(self) -> int:
        """How many requests it takes at the same time."""

    @property
    def sees(self) -> bool:
        """Whether it needs the pictures."""

    @property
    def keep(self) -> bool:
        """Whether its answers are kept: they cost something, or would be others next time."""

    def stop(self) -> None:
        """Nobody waits any more: what is being asked ends soon, by an exception."""

    def ask(self, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> Said:
        """The answer. repairs, said: of the tries before, what was wrong and what it had said.

        Raises ItemFailed if this item has no answer, EndpointError if no other item would have one, Waiting if it comes later.
        """


class ItemFailed(Exception):
    """One request has no answer, for this reason; others may."""


class Waiting(Exception):
    """The model answers many requests together, and this one is noted: ask again when they are answered."""
