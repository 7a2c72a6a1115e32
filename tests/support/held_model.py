"""A session whose answers wait until they are let go."""

import asyncio
import threading
from typing import Any

import pytest

from afterview.stream.session import Session


class HeldModel:
    """Questions wait until `go` is set, then the model answers them. Counts those that were asked, and those that were cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.cancelled, self.go = 0, 0, threading.Event()
        answer = Session.ask

        async def ask(session: Session, *given: Any, **named: Any) -> Any:
            self.asked += 1
            try:
                while not self.go.is_set():
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return await answer(session, *given, **named)

        monkeypatch.setattr(Session, "ask", ask)
