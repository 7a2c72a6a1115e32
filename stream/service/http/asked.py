"""From the body of a question, as the HTTP API and MQTT take it, to a value."""

from typing import Any

from afterview.stream.service.asked import Ask
from afterview.stream.service.http.schemas import AskRequest


def ask_of(body: AskRequest) -> Ask:
    """The question of a request."""
    more: dict[str, Any] = {"seed": body.seed, "evidence": body.evidence, "max_new_tokens": body.max_tokens}
    more |= {name: getattr(body, name) for name in ("temperature", "top_p", "top_k", "repetition_penalty")}
    more["stop"] = None if body.stop is None else tuple(body.stop)
    return Ask(
        body.question, tuple(body.cameras), body.start, body.at, body.last, body.follows, more, subtitles=body.subtitles
    )
