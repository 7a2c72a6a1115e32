"""What comes and goes by MQTT: from bytes to values, and from the service's documents to bytes. Pure.

Whatever comes may be hostile: it is bounded, and refused with UsageError, never with another exception.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from afterview.configs import UsageError
from afterview.configs.wording import describe_secret_problem
from afterview.stream.ask.answerer import LONGEST_QUESTION
from afterview.stream.service.asked import Ask
from afterview.stream.service.events import Event
from afterview.stream.service.http.asked import ask_of
from afterview.stream.service.http.schemas import AskRequest, Text

LARGEST_QUESTION = 32 * 1024  # bytes of a message with a question
LARGEST_COMMAND = 16  # bytes
LARGEST_OWN = 64 * 1024  # bytes of a document that the service has published itself
LONGEST_STATE = 255  # characters of a state in Home Assistant
LONGEST_TEXT = 4000  # characters of an answer among a sensor's attributes, of which Home Assistant keeps 16 KiB
LONGEST_ID = 128
_MOST_EVIDENCE = 16
_ATTRIBUTES = (
    "name", "state", "cause", "detail", "last_time", "last_time_iso", "recorded", "dropped", "reconnects", "lag_s",
)  # fmt: skip
_ON, _OFF = {"on", "true", "1"}, {"off", "false", "0"}


class MqttQuestion(AskRequest):
    """A question as the HTTP API takes it, with an id by which the client knows the answer again."""

    model_config = ConfigDict(strict=False)

    id: Text | None = Field(default=None, max_length=LONGEST_ID)


@dataclass(frozen=True)
class Asked:
    """A question, and the id that its client gave."""

    ask: Ask
    id: str | None = None


def read_question(payload: bytes) -> Asked:
    """A question: JSON with the keys of POST /api/v1/ask and `id`, or plain text. Raises UsageError."""
    text = _text(payload, LARGEST_QUESTION).strip()
    if not text.startswith("{"):
        if not text:
            raise UsageError("the question is empty")
        if len(text) > LONGEST_QUESTION:
            raise UsageError(f"a question has at most {LONGEST_QUESTION} characters; this one has {len(text)}")
        return Asked(Ask(text))
    body = _checked(_object(text))
    if body.stream:
        raise UsageError("stream: answers by MQTT come as a whole; leave it out")
    return Asked(ask_of(body), body.id)


def question_id(payload: bytes) -> str | None:
    """The id of a question that was refused, if it has one that can be read."""
    try:
        found = _object(_text(payload, LARGEST_QUESTION).strip()).get("id")
    except UsageError:
        return None
    return found if isinstance(found, str) and len(found) <= LONGEST_ID and _is_whole(found) else None


def read_switch(payload: bytes) -> bool:
    """ON or OFF, in any spelling. Raises UsageError."""
    text = _text(payload, LARGEST_COMMAND).strip().lower()
    if text in _ON:
        return True
    if text in _OFF:
        return False
    raise UsageError("send ON or OFF")


def read_own(payload: bytes) -> dict[str, Any]:
    """A document that a service of this kind has published. Raises UsageError."""
    return _object(_text(payload, LARGEST_OWN))


def _text(payload: bytes, most: int) -> str:
    if len(payload) > most:
        raise UsageError(f"the message has more than {most} bytes")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise UsageError("the message is not UTF-8 text") from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UsageError("the message is not JSON; plain text does not begin with '{'") from None
    if not isinstance(found, dict):
        raise UsageError("the message is not a JSON object")
    return found


def _refuse(word: str) -> None:
    raise ValueError(word)


def _checked(values: Mapping[str, Any]) -> MqttQuestion:
    try:
        return MqttQuestion.model_validate(values)
    except ValidationError as error:
        said = []
        for problem in error.errors()[:3]:
            where = ".".join(str(part)[:40] for part in problem["loc"])
            said.append(f"{where}: {describe_secret_problem(problem)}")
        raise UsageError("; ".join(said)) from None
    except RecursionError:
        raise UsageError("the message is nested too deeply") from None


def _is_whole(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def as_json(document: Mapping[str, Any]) -> bytes:
    """JSON that any client can decode."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace")


def attributes(camera: Mapping[str, Any], instance: str, evidence: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is said of a camera beside its state. camera: as ServedCamera.to_dict. instance: who has published it.

    evidence: the frame whose picture is published.
    """
    shown = {name: camera.get(name) for name in _ATTRIBUTES}
    return {"camera": camera["camera"], **shown, "evidence": evidence, "instance": instance}


def last_answer(document: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as a sensor: `state` and bounded attributes. document: as POST /api/v1/ask gives it."""
    evidence = [
        {name: item.get(name) for name in ("camera", "frame", "time", "time_iso", "weight")}
        for item in document.get("evidence", [])[:_MOST_EVIDENCE]
    ]
    text, notes = str(document.get("answer", "")), list(document.get("notes", []))
    # who answered and what left this machine; or that nothing answers
    if (document.get("provenance") or {}).get("answered_by") or document.get("finds_only"):
        notes.insert(0, document.get("notice"))
    return {
        "state": shortened(" ".join(text.split()) or "(no text)", LONGEST_STATE),
        "question": shortened(str(document.get("question", "")), LONGEST_STATE),
        "answer": shortened(text, LONGEST_TEXT),
        "id": document.get("id"),
        "declined": document.get("declined"),
        "asked": document.get("asked"),
        "cameras": [part.get("camera") for part in document.get("cameras", [])][:64],
        "finds_only": document.get("finds_only"),
        "evidence_kind": document.get("evidence_kind"),
        "evidence": evidence,
        "notes": [shortened(str(note), LONGEST_STATE) for note in notes[:8]],
    }


def too_large(payload: bytes, limit: int) -> bytes:
    """What is sent instead of an answer that the broker does not take."""
    document = json.loads(payload)
    message = (
        f"the answer has {len(payload)} bytes, and the broker takes at most {limit} in a message; ask for less evidence"
    )
    error = {"kind": "too_large", "message": message, "answer": document.get("id")}
    return as_json({"request": document.get("request"), "error": error})


def shortened(text: str, most: int) -> str:
    """At most so many characters; what was cut off ends in an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown_event(event: Event) -> dict[str, Any]:
    """An event as it is published. `event_type`: for Home Assistant. Of a camera only what its attributes say, too."""
    document = event.to_dict()
    if event.kind == "camera":
        kept = ("number", "kind", "time", "camera", *_ATTRIBUTES, "change")
        document = {name: document[name] for name in kept if name in document}
    return {"event_type": event.kind, **document}
