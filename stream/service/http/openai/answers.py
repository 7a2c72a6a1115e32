"""Answers as clients of OpenAI read them: a chat completion, its chunks, and what Afterview adds."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afterview.stream.service.asked import Piece
from afterview.stream.service.http.openai.errors import NoText

_ADDED = (
    "id", "declined", "finds_only", "notice", "evidence_kind", "evidence", "coverage", "provenance", "timing", "cameras", "skipped",
    "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """How one answer is written. model: as the client called it. links: name the evidence under the text, at this address of the service.

    warnings: what of the request is not used. given: the answer is about what came with the question.
    """

    model: str
    warnings: Sequence[str]
    links: str | None = None
    given: bool = False
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))


def text_of(document: Mapping[str, Any]) -> str:
    """The answer's text. Raises NoText if the model gave none."""
    text = str(document["answer"])
    if not has_words(text, [part["camera"] for part in document["cameras"]]):
        raise NoText("the model gave no text; ask in other words, or with another temperature, seed or stop")
    return text


def has_words(text: str, cameras: Iterable[str]) -> bool:
    """Whether there is more than the names of cameras before their answers."""
    titles = {f"{camera}:" for camera in cameras}
    return any(line.strip() and line.strip() not in titles for line in text.splitlines())


async def first_words(pieces: AsyncIterator[Piece]) -> list[Piece]:
    """The pieces up to the first text: what goes wrong until then has a status of its own. Raises NoText."""
    held: list[Piece] = []
    text, cameras = "", list[str]()
    async for piece in pieces:
        held.append(piece)
        if piece.kind == "cameras":
            cameras = piece.data["cameras"]
        elif piece.kind == "answer":
            text_of(piece.data)
            return held
        else:
            text += piece.data["text"]
            if has_words(text, cameras):
                return held
    raise NoText("the model gave no text")


def links_text(document: Mapping[str, Any], form: Form) -> str:
    """What stands under the text: the evidence, numbered. Empty unless it was asked for."""
    if form.links is None or not document["evidence"]:
        return ""
    lines = []
    for number, item in enumerate(document["evidence"], 1):
        if form.given:
            lines.append(f"{number}. {item['camera']}, {item['time']:.1f} s")
            continue
        when = item["time_iso"][:19].replace("T", " ")
        title = f"{item['camera']}, {when}".replace("[", "(").replace("]", ")")
        lines.append(f"{number}. [{title}]({form.links}{item['image']})" if item["image"] else f"{number}. {title}")
    return "\n\n" + "\n".join(lines)


def added(document: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The field `afterview` of an answer."""
    return {**{name: document.get(name) for name in _ADDED}, "warnings": list(form.warnings)}


def usage_of(document: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of all cameras together. A question that was declined took none."""
    prompt, answer = (
        sum((part["tokens"] or {}).get(name, 0) for part in document["cameras"]) for name in ("prompt", "answer")
    )
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def is_cut(document: Mapping[str, Any]) -> bool:
    """Whether an answer ended because it had as many tokens as were allowed."""
    return any((part["tokens"] or {}).get("cut") for part in document["cameras"])


def completion(document: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """A whole chat completion. Raises NoText."""
    text = text_of(document) + links_text(document, form)
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(document)}
    return {
        "id": f"chatcmpl-{form.identity}", "object": "chat.completion", "created": form.created, "model": form.model,
        "choices": [choice], "usage": usage_of(document), "afterview": added(document, form),
    }  # fmt: skip


def _reason(document: Mapping[str, Any]) -> str:
    return "length" if is_cut(document) else "stop"


class Chunks:
    """The chunks of a chat completion. text: what was sent so far."""

    def __init__(self, form: Form, *, usage: bool) -> None:
        self._form, self._usage = form, usage
        self.text = ""

    def begin(self) -> str:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def words(self, text: str) -> str:
        """A piece of the text."""
        self.text += text
        return self._chunk({"content": text})

    def end(self, document: Mapping[str, Any]) -> list[str]:
        """The last chunks. Raises NoText."""
        text_of(document)
        links = links_text(document, self._form)
        chunks = [self.words(links)] if links else []
        chunks.append(self._chunk({}, _reason(document), {"afterview": added(document, self._form)}))
        if self._usage:
            chunks.append(sent({**self._head(), "choices": [], "usage": usage_of(document)}))
        return [*chunks, "data: [DONE]\n\n"]

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None, more: Mapping[str, Any] | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._usage else {}
        return sent({**self._head(), "choices": [choice], **usage, **(more or {})})

    def _head(self) -> dict[str, Any]:
        form = self._form
        return {
            "id": f"chatcmpl-{form.identity}", "object": "chat.completion.chunk", "created": form.created, "model": form.model,
        }  # fmt: skip


def sent(data: Mapping[str, Any], event: str = "") -> str:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, allow_nan=False)}\n\n"
