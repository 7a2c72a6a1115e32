"""Answers of the language model that a test decides, instead of those of a model."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Tokens
from afterview.stream.errors import Cancelled
from afterview.stream.session import Session


class SlowModel:
    """Answers nothing but a first word until `go` is set; counts what it was asked, and what was cancelled."""

    def __init__(self) -> None:
        self.asked, self.cancelled, self.go = 0, 0, threading.Event()

    @classmethod
    def instead_of_the_model(cls, monkeypatch: pytest.MonkeyPatch) -> "SlowModel":
        made = cls()
        monkeypatch.setattr(Session, "ask", lambda session, *given, **more: made.ask(*given))
        return made

    async def ask(self, model: Any, question: Any, on_text: Any = None, on_cameras: Any = None) -> Any:
        self.asked += 1
        on_cameras(["yard"], {})
        on_text("no")
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise Cancelled("told to")


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
