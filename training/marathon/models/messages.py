"""Requests as messages of OpenAI's chat protocol: with what was wrong with the answers before, and with pictures."""

import base64
from collections.abc import Sequence
from typing import Any, Final

from afterview.training.marathon.models.request import Request, Shown

_LONGEST_QUOTE: Final = 4000  # characters of an answer that the model is shown again
_NOTHING: Final = "(no words)"  # for an answer without any: some chat templates refuse an empty message


def messages_of(request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> list[dict[str, Any]]:
    """The messages without pictures. repairs, said: of the tries before, what was wrong and what the model had said."""
    messages: list[dict[str, Any]] = [dict(message) for message in request.messages]
    for words, why in zip(said, repairs, strict=True):
        messages.append({"role": "assistant", "content": words[:_LONGEST_QUOTE] or _NOTHING})
        messages.append(
            {"role": "user", "content": f"This cannot be used: {why}. Answer the same again, as JSON alone."}
        )
    return messages


def show(messages: list[dict[str, Any]], place: int, pictures: Sequence[Shown]) -> None:
    """Put pictures before the text of a message, each after its time."""
    parts: list[dict[str, Any]] = []
    for shown in pictures:
        parts.append({"type": "text", "text": f"at {shown.at_s:.1f} s:"})
        url = f"data:image/jpeg;base64,{base64.b64encode(shown.jpeg).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    messages[place]["content"] = [*parts, {"type": "text", "text": messages[place]["content"]}]
