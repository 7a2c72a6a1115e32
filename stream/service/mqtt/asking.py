"""Questions and commands that come by MQTT. What cannot be done is answered with an error, in the shape of the HTTP API.

Belongs to the event loop.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from afterview.configs import AfterviewError, UsageError
from afterview.stream.service import changes
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import Stopping, TooManyQuestions
from afterview.stream.service.http.errors import document_of
from afterview.stream.service.jobs import Jobs
from afterview.stream.service.mqtt.outbox import Message, Outbox
from afterview.stream.service.mqtt.payloads import Asked, as_json, question_id, read_question, read_switch
from afterview.stream.service.mqtt.topics import Topics
from afterview.stream.service.people.access import Access
from afterview.stream.service.questions import Questions

LONGEST_CORRELATION = 256  # bytes
_SETTING_TAKES_S = 30.0

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Came:
    """A message that came. response, correlation: of MQTT 5."""

    topic: str
    payload: bytes
    response: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True)
class _Return:
    """Where an answer goes."""

    topic: str
    correlation: bytes | None
    id: str | None = None


class Asking:
    """Answers questions, so many at once at most. on_answer: called with each answer."""

    def __init__(
        self, engine: Engine, questions: Questions, access: Access, topics: Topics, outbox: Outbox, most: int,
        on_answer: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._engine, self._questions, self._access = engine, questions, access
        self._topics, self._outbox, self._most, self._on_answer = topics, outbox, most, on_answer
        self._tasks: dict[asyncio.Task[None], _Return] = {}
        self.refused = 0

    def take(self, came: Came) -> None:
        """A question. Never raises; the answer or the error follows."""
        back = _Return(self._topics.of("answer"), None)
        try:
            back = self._way_back(came)
            asked = read_question(came.payload)
            back = _Return(back.topic, back.correlation, asked.id)
            if len(self._tasks) >= self._most:
                self.refused += 1
                wait = self._engine.line.retry_after_s()
                raise TooManyQuestions(
                    f"{self._most} questions of MQTT are not answered yet; try again in {wait} s", wait
                )
        except AfterviewError as error:
            if back.id is None:
                back = _Return(back.topic, back.correlation, question_id(came.payload))
            self._fail(back, error)
            return
        task = asyncio.get_running_loop().create_task(self._answer(asked, back))
        self._tasks[task] = back
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _way_back(self, came: Came) -> _Return:
        if came.correlation is not None and len(came.correlation) > LONGEST_CORRELATION:
            raise UsageError(f"the correlation data has more than {LONGEST_CORRELATION} bytes")
        if came.response is not None and not self._topics.allows_response(came.response):
            raise UsageError(f"the response topic must begin with {self._topics.of('answer')}/, and hold no wildcard")
        return _Return(came.response or self._topics.of("answer"), came.correlation)

    async def _answer(self, asked: Asked, back: _Return) -> None:
        try:
            document = await self._questions.ask(asked.ask, self._access)
        except (AfterviewError, OSError) as error:
            self._fail(back, error)
            return
        except Exception:
            _LOGGER.exception("a question by MQTT failed")
            self._send(back, {"error": {"kind": "unexpected", "message": "the service's log has more"}})
            return
        self._send(back, document)
        try:
            await self._on_answer(document)
        except (AfterviewError, OSError) as error:
            _LOGGER.warning("the evidence of answer %s is not shown by MQTT: %s", document.get("id"), error)

    def _fail(self, back: _Return, error: AfterviewError | OSError) -> None:
        self._send(back, error_document(error, self._engine))

    def _send(self, back: _Return, document: Mapping[str, Any]) -> None:
        payload, qos = as_json({"request": back.id, **document}), 0 if "error" in document else 1
        self._outbox.put_answer(Message("answer", back.topic, payload, qos, back.correlation))

    async def close(self) -> None:
        """Whoever waits for an answer is told that none comes."""
        waiting = dict(self._tasks)
        for task, back in waiting.items():
            task.cancel()
            self._fail(back, Stopping("the service is ending, or its configuration of MQTT has changed; ask again"))
        await asyncio.gather(*waiting, return_exceptions=True)


class Switches:
    """Pauses cameras and lets them record again; of several commands that come while one is executed, the newest counts."""

    def __init__(
        self, engine: Engine, jobs: Jobs, access: Access, topics: Topics, outbox: Outbox,
        on_change: Callable[[list[str]], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._engine, self._jobs, self._access = engine, jobs, access
        self._topics, self._outbox, self._on_change = topics, outbox, on_change
        self._wanted: dict[str, bool] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def take(self, came: Came, camera: str) -> None:
        """A command for a camera, by its id. Never raises."""
        try:
            self._access.require_admin()
            self._wanted[camera] = read_switch(came.payload)
        except AfterviewError as error:
            self._fail(came.topic, error)
            return
        if camera not in self._tasks:
            task = self._tasks[camera] = asyncio.get_running_loop().create_task(self._apply(camera, came.topic))
            task.add_done_callback(lambda _: self._tasks.pop(camera, None))

    async def _apply(self, camera: str, topic: str) -> None:
        while camera in self._wanted:
            paused = self._wanted.pop(camera)
            try:
                await self._set(camera, paused, topic)
                await self._on_change([camera])
            except (AfterviewError, OSError) as error:
                self._fail(topic, error)

    async def _set(self, camera: str, paused: bool, topic: str) -> None:
        engine = self._engine
        await engine.read(lambda: engine.view(self._access).camera(camera))
        job = self._jobs.start(
            "pause",
            camera,
            lambda job, progress: changes.set_values(engine.memory(), camera, {"paused": paused}),
            self._access,
            paused=paused,
        )
        await self._jobs.wait(job, _SETTING_TAKES_S)
        if job.error is not None:
            self._send(topic, {"error": job.error})

    def _fail(self, topic: str, error: AfterviewError | OSError) -> None:
        self._send(topic, error_document(error, self._engine))

    def _send(self, topic: str, document: Mapping[str, Any]) -> None:
        self._outbox.put_answer(Message("answer", self._topics.of("error"), as_json({"topic": topic, **document}), 0))

    async def close(self) -> None:
        """Commands that are being executed go on as jobs; others are dropped."""
        self._wanted.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def error_document(error: AfterviewError | OSError, engine: Engine) -> dict[str, Any]:
    """As the HTTP API gives it, without the place of the memory on this machine."""
    text = json.dumps(document_of(error)).replace(json.dumps(str(engine.path))[1:-1], "the memory")
    found: dict[str, Any] = json.loads(text)
    return found
