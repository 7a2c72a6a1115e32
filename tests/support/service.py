"""A service in a thread of the test's own process, with a real HTTP server on a free port, and clients of it."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from afterview.memory.writing.open import open_camera
from afterview.stream.service.config import ServiceConfig
from afterview.stream.service.engine import Engine
from afterview.stream.service.serve import Service
from afterview.stream.session import run as run_loop
from tests.support.memory_world import make_frame
from tests.support.servers import wait_until

API = "/api/v1"


def record_camera(memory: Path, name: str, model: Any, frames: int, *, missing: range = range(0)) -> None:
    """A camera with made-up frames of a model, one a second from memory_world.START; those of `missing` were not recorded."""
    with open_camera(memory, name, model.encoders.feature_spec, timezone="Europe/Berlin") as repository:
        for number in range(frames):
            if number not in missing:
                repository.append(make_frame(number, model.encoders.feature_spec))
        repository.sync()


class ServiceHere:
    """Serves `memory` from entering to leaving. model: already loaded, or what loads it. client: of its HTTP API."""

    def __init__(
        self,
        memory: Path,
        model: Any,
        *,
        http: dict[str, Any] | None = None,
        openai: dict[str, Any] | None = None,
        cameras: dict[str, Any] | None = None,
        mqtt: dict[str, Any] | None = None,
        answer_with: dict[str, Any] | None = None,
        wait: bool = True,
        **client: Any,
    ) -> None:
        own = {"http": {"port": 0, **(http or {})}, "openai": openai or {}, "mqtt": mqtt, "answer_with": answer_with}
        self._values = {"cameras": cameras or {}, **own}
        self.config = ServiceConfig.model_validate(self._values)
        load: Callable[[str, str | None], Any] = model if callable(model) else lambda name, index: model
        self.service = Service(memory, self.config, load, version="test", reload=lambda: self.config)
        self.memory, self._wait, self._options = memory, wait, client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run_loop(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.service.run(lambda url: self._ready.set())

    @property
    def url(self) -> str:
        return self.service.url

    def json(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        """A request to the API; its document. Fails for another status."""
        answer = self.client.request(method, API + path, json=body, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def state_of(self, camera: str) -> str:
        return str(self.json("GET", f"/cameras/{camera}")["state"])

    def in_loop(self, work: Callable[[Engine], Coroutine[Any, Any, Any]]) -> Any:
        """Let the engine do something in the service's loop; its result."""
        assert self._loop is not None
        assert self.service.engine is not None
        return asyncio.run_coroutine_threadsafe(work(self.service.engine), self._loop).result(30)

    def reload(self, **sections: Any) -> None:
        """As SIGHUP after sections of the configuration were changed."""
        self._values |= sections
        self.config = ServiceConfig.model_validate(self._values)
        self.in_loop(lambda engine: self.service.read_again())

    def stop(self, within_s: float = 20.0) -> None:
        """End it cleanly."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.service.end)
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "the service did not stop"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        if self._error is not None:
            raise self._error
        self.client = httpx2.Client(base_url=self.url, timeout=20, trust_env=False, **self._options)
        if self._wait:
            assert wait_until(lambda: self.client.get("/health/ready").json()["model"]["state"] != "loading", 20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.stop()


def sent_events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Kind and document of each server-sent event."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))
