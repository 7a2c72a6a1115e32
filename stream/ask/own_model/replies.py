"""What a model server sends: a whole answer as JSON, or its pieces as server-sent events. Pure; refuses what is neither."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from afterview.stream.source.address.redact import printable, redact, redact_values

MOST_BYTES = 4_000_000  # of a whole reply: an answer with every token as a document of its own
_LONGEST_LINE = 500_000  # bytes of one event
_LONGEST_QUOTE = 200  # characters of what a server says
_LONGEST_LOOK = 20 * _LONGEST_QUOTE  # characters that are looked at for it: secrets in them make it shorter


class BadReply(Exception):
    """Not what the protocol says. The text completes "the server ..."."""


@dataclass(frozen=True)
class Said:
    """One piece. text: words of the answer. alive: the model works, though it said nothing. end: why it ended. model: what it calls itself.

    tokens: of the prompt and of the answer, where the server counts them.
    """

    text: str = ""
    end: str | None = None
    model: str | None = None
    alive: bool = False
    tokens: tuple[int, int] | None = None


class Events:
    """Decodes server-sent events. `done`: the server said that nothing follows."""

    def __init__(self) -> None:
        self.done = False
        self._rest, self._data, self._bytes = bytearray(), list[bytes](), 0

    def add(self, received: bytes) -> Iterator[Said]:
        """What further bytes say. Raises BadReply."""
        self._bytes += len(received)
        if self._bytes > MOST_BYTES:
            raise BadReply(f"sends more than {MOST_BYTES / 1e6:g} MB")
        self._rest += received
        if b"\n" not in received:  # looked for in what is new alone: a long line may come byte by byte
            if len(self._rest) > _LONGEST_LINE:
                raise BadReply("sends an event without an end")
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            if self.done:
                return
            yield from self._line(line.removesuffix(b"\r"))

    def end(self) -> Iterator[Said]:
        """The stream is over: some servers leave out the last line feed."""
        rest, self._rest = bytes(self._rest), bytearray()
        for line in (rest, b""):
            if not self.done:
                yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[Said]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].strip())
        elif line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            raise BadReply(f"breaks the protocol of server-sent events: {quoted(line.decode(errors='replace'))}")
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            if data == b"[DONE]":
                self.done = True
            elif data:
                yield said_in(data, "delta")


def said_in(data: bytes, part: str) -> Said:
    """What a document says. part: `delta` of an event, `message` of a whole answer. Raises BadReply."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BadReply("sends what is no JSON: " + quoted(data.decode(errors="replace"))) from None
    if not isinstance(document, dict):
        raise BadReply("sends JSON that is no chat completion")
    if document.get("error"):
        raise BadReply(f"reports an error: {message_of(document)}")
    choices = document.get("choices")
    named = document.get("model")
    model = quoted(named)[1:-1] if isinstance(named, str) and named else None
    tokens = _tokens(document.get("usage"))
    if choices == [] and part == "delta":  # the last event of some servers has only the usage
        return Said(model=model, tokens=tokens, alive=True)
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReply("sends JSON that is no chat completion: it has no choices")
    one, end = choices[0], choices[0].get("finish_reason")
    found = one.get(part) or {}
    if not isinstance(found, dict):
        raise BadReply(f"sends JSON that is no chat completion: its {part} is no object")
    if isinstance(found.get("refusal"), str) and found["refusal"].strip():
        raise BadReply(f"refuses to answer: {quoted(found['refusal'])}")
    text = _text(found.get("content"))
    return Said(text, end if isinstance(end, str) else None, model, bool(found), tokens)


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, list):  # parts, as some servers answer
        content = "".join(str(one.get("text", "")) for one in content if isinstance(one, dict))
    if not isinstance(content, str):
        raise BadReply("sends JSON that is no chat completion: its content is no text")
    return content.encode(errors="replace").decode()  # halves of surrogate pairs


def _tokens(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    prompt, answer = (one if isinstance(one, int) and 0 <= one < 10**9 else None for one in counts)
    return None if prompt is None or answer is None else (prompt, answer)


def message_of(document: Any) -> str:
    """What a server says of an error, quoted."""
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("code") or error
    return quoted(error if isinstance(error, str) else json.dumps(error, default=str))


def quoted(text: str) -> str:
    """Foreign text on one line, short, printable and without secrets."""
    line = printable(redact_values(redact(" ".join(text[:_LONGEST_LOOK].split()))))
    return f"'{line[:_LONGEST_QUOTE]}{'...' if len(line) > _LONGEST_QUOTE else ''}'"
