"""A model that answers when it is told to, in place of a session's."""

import asyncio
import threading
from typing import Any

import pytest

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
