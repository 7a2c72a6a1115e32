"""Reads messages of clients of OpenAI into turns of a conversation: texts, cameras, and where pictures and videos come from."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from afterview.configs import UsageError
from afterview.stream.ask.answerer import LONGEST_QUESTION
from afterview.stream.service.conversation import Source, Span, Turn
from afterview.stream.service.http.openai.requests import Message
from afterview.stream.service.http.parameters import as_time
from afterview.stream.service.http.schemas import whole_text

CAMERA = "afterview://camera/NAME?from=TIME&to=TIME, or ?last=DURATION; afterview://cameras?last=1h for all"
_TEXTS = ("text", "input_text", "output_text", "refusal")
_MEDIA = ("image_url", "video_url", "input_image", "input_video")
_SYSTEM = ("system", "developer")
_KEYS = {"from": "start", "start": "start", "to": "at", "at": "at", "last": "last"}
_IN_TEXT = re.compile(r"afterview://[^\s<>\"'`]+")
_AFTER = ".,;:!?)]}"
_LONGEST = 1000  # characters of an address of cameras
_MOST_PARTS = 2000  # of all messages
_LONGEST_SYSTEM = 20_000  # characters of a system message in which addresses are looked for
_SHORT = 200  # characters of a message that stands for itself
_SYSTEM_IGNORED = (
    "system messages are ignored, apart from afterview:// addresses in them: the model is asked the question alone"
)
_EARLIER = "the model is asked the last question alone; earlier messages count for their cameras, their span and what came with them"


@dataclass(frozen=True)
class Conversation:
    """turns: of the user, in their order; those of system messages first. history: number, role and content of every other message. notes:
    what is ignored."""

    turns: tuple[Turn, ...]
    history: tuple[tuple[int, str, Any], ...]
    notes: tuple[str, ...]


def read_messages(messages: Sequence[Message], where: str, instructions: str | None = None) -> Conversation:
    """where: what the list is called in the request. instructions: as a system message. Raises UsageError, which names the part."""
    system, turns, history, notes = _system_turn(instructions, "instructions"), [], [], dict[str, None]()
    if instructions:
        notes[_SYSTEM_IGNORED] = None
    if sum(len(message.content) for message in messages if isinstance(message.content, list)) > _MOST_PARTS:
        raise UsageError(f"{where}: all messages together have at most {_MOST_PARTS} parts")
    for number, message in enumerate(messages):
        place = f"{where}.{number}"
        if message.role in _SYSTEM:
            system += _system_turn(message.content, place)
            notes[_SYSTEM_IGNORED] = None
            continue
        history.append((number, message.role, message.content))
        if message.role == "user":
            turns.append(_turn(message.content, place, notes, number))
        elif message.role != "assistant":
            notes[f"messages of the role '{message.role}' are ignored"] = None
    if not history or history[-1][1] != "user":
        raise UsageError(f"{where}: the last message must be a question of the user")
    asked = turns[-1]
    if not asked.text.strip():
        raise UsageError(f"{asked.place}: asks nothing; give the question as text")
    if len(asked.text) > LONGEST_QUESTION:
        raise UsageError(
            f"{asked.place}: the question has {len(asked.text)} characters; at most {LONGEST_QUESTION} are taken"
        )
    turns = [turn if len(turn.text) <= LONGEST_QUESTION else replace(turn, text="") for turn in turns]  # it was refused
    if len(history) > 1:
        notes[_EARLIER] = None
    return Conversation((*system, *turns), tuple(history), tuple(notes))


def canonical(content: str | list[Any] | None) -> str:
    """The same short text for the ways in which clients send the same message again. Long ones take time: in a thread."""
    texts = [content or ""] if not isinstance(content, list) else [_text_of(part) for part in content]
    text = repr(content) if None in texts else "\n".join(one for one in texts if one is not None).strip()
    return text if len(text) <= _SHORT else hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _text_of(part: object) -> str | None:
    text = part.get("text") if isinstance(part, Mapping) else part
    return text if isinstance(text, str) else None


def _system_turn(content: str | list[Any] | None, place: str) -> list[Turn]:
    """The cameras and the span that a system message names: those of the conversation."""
    parts = [content] if isinstance(content, str) else content or []
    found = [url.rstrip(_AFTER) for part in parts for url in _IN_TEXT.findall((_text_of(part) or "")[:_LONGEST_SYSTEM])]
    return [_joined(place, "", [_camera(_text(url, place), place) for url in found], [])] if found else []


def _turn(content: str | list[Any] | None, place: str, notes: dict[str, None], number: int) -> Turn:
    if isinstance(content, str) or content is None:
        return Turn(place, content or "", number=number)
    texts: list[str] = []
    cameras: list[tuple[str | None, Span | None]] = []
    sources: list[Source] = []
    for index, part in enumerate(content):
        own = f"{place}.content.{index}"
        if isinstance(part, str):  # as early versions of Frigate send it
            texts.append(_text(part, own))
            continue
        if not isinstance(part, Mapping):
            raise UsageError(f"{own}: must be a part, such as {{'type': 'text', 'text': ...}}")
        kind = part.get("type", "text" if "text" in part else None)
        if kind in _TEXTS:
            texts.append(_text(part.get("text", part.get("refusal")), own))
        elif kind in _MEDIA:
            source = _source(part, kind, own, notes)
            if source.url.startswith("afterview:"):
                cameras.append(_camera(source.url, source.place))
            else:
                sources.append(source)
        else:
            said = f"'{kind}'" if isinstance(kind, str) and len(kind) <= 60 else "this kind"
            raise UsageError(f"{own}: parts of {said} are not understood; known are text, image_url and video_url")
    return replace(_joined(place, "\n".join(texts), cameras, sources), number=number)


def _text(text: object, place: str) -> str:
    if not isinstance(text, str):
        raise UsageError(f"{place}: text must be text")
    try:
        return whole_text(text)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from None


def _source(part: Mapping[str, Any], kind: str, place: str, notes: dict[str, None]) -> Source:
    """Where a picture or a video comes from. Raises UsageError."""
    key = {"input_image": "image_url", "input_video": "video_url"}.get(kind, kind)
    place = f"{place}.{key}"
    value, given = part.get(key), part.get("uuid")
    if isinstance(value, Mapping):
        if value.get("detail", "auto") != "auto":
            notes["detail is ignored: each picture is scaled to what the model sees"] = None
        value = value.get("url")
    if given is not None and (not isinstance(given, str) or not 0 < len(given) <= 200):
        raise UsageError(f"{place}: uuid must be a text of at most 200 characters")
    if value is None and given is not None:
        return Source(place, "", given)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{place}: give its url: data:, file: or http(s):, or {CAMERA}")
    return Source(place, _text(value.strip(), place), given)


def _camera(url: str, place: str) -> tuple[str | None, Span | None]:
    """The camera and the span of an afterview:// address; None for what it leaves out. Raises UsageError."""
    kind = name = query = ""
    try:
        parts = urlsplit(url if len(url) <= _LONGEST else "")
        if parts.scheme == "afterview" and not parts.fragment:
            kind, name, query = parts.netloc, unquote(parts.path.removeprefix("/")), parts.query
    except ValueError:
        pass  # refused below
    if not ((kind == "camera" and name) or (kind == "cameras" and not name)):
        raise UsageError(f"{place}: not an address of a camera; write {CAMERA}")
    given: dict[str, float | str | None] = {}
    for pair in filter(None, query.split("&")):
        key, _, text = pair.partition("=")
        known = _KEYS.get(key)
        if known is None or known in given or not text:
            raise UsageError(
                f"{place}: '{key[:60]}' of a camera's address is unknown, given twice or empty; write {CAMERA}"
            )
        value = unquote(text)
        try:
            given[known] = value if known == "last" else as_time(value)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from None
    return name or None, Span(**given) if given else None


def _joined(
    place: str, text: str, cameras: Sequence[tuple[str | None, Span | None]], sources: Sequence[Source]
) -> Turn:
    """Raises UsageError for parts that do not fit into one question."""
    if cameras and sources:
        raise UsageError(
            f"{place}: a question is about cameras or about what comes with it; ask about one of them, then about the other"
        )
    spans = list(dict.fromkeys(span for _, span in cameras if span is not None))
    if len(spans) > 1:
        raise UsageError(
            f"{place}: a question has one span; give all its cameras the same, or give it with one of them"
        )
    names = tuple(name for name, _ in cameras if name is not None)
    return Turn(place, text, names, spans[0] if spans else None, tuple(sources))


def decode_data_url(url: str, most: int) -> bytes:
    """The bytes of a data: URL. Raises UsageError, without its place. The type that it states does not count."""
    head, comma, payload = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise UsageError("a data: URL must read data:TYPE;base64,DATA")
    if len(payload) * 3 // 4 > most + 3:
        raise UsageError(
            f"has more than {most} bytes, which all that comes with a question may have (openai.largest_bytes)"
        )
    payload = unquote(payload).strip() if "%" in payload else payload.strip()
    try:
        data = base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("its data is not base64") from None
    if len(data) > most:
        raise UsageError(
            f"has more than {most} bytes, which all that comes with a question may have (openai.largest_bytes)"
        )
    return data
