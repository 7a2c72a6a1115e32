"""Answers of the language model that a test decides, instead of those of a model."""

from collections.abc import Mapping
from typing import Any

import pytest

from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Tokens
from afterview.stream.session import Session


def answer_with(monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> None:
    """Every answer has these texts, by camera."""

    async def ask(model: Any, question: Any, on_text: Any = None, on_cameras: Any = None) -> Answer:
        def part(name: str) -> CameraAnswer:
            coverage = Coverage(name, 1, 0.0, 0.0, (), (), 0, 0.0, {"file": 1}, "full", "none", "true", 1, 1)
            provenance: dict[str, object] = {"first_frame": 0, "last_frame": 0}
            return CameraAnswer(texts[name], "", (), coverage, provenance, {}, Tokens(3, 0))

        titles = {name: f"{name}: " if len(texts) > 1 else "" for name in texts}
        on_cameras(list(texts), {})
        for number, name in enumerate(texts):
            on_text(("\n" if number else "") + titles[name] + texts[name])
        merged = "\n".join(titles[name] + text.strip() for name, text in texts.items())
        return Answer("abc123", question.text, merged, tuple(map(part, texts)), None, {}, 0.1)

    monkeypatch.setattr(Session, "ask", lambda session, *given, **more: ask(*given))
