"""The user's model server as a part of the service: who answers a question, how many at once, and what left the machine.

Its questions run in threads of their own, so neither ingest nor the built-in model waits for it. Belongs to the event loop.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from afterview.configs import AfterviewError
from afterview.configs.errors import error_kind
from afterview.memory.directory import Memory
from afterview.stream.ask.own_model.answerer import OwnModelAnswerer
from afterview.stream.ask.own_model.errors import ModelServerError
from afterview.stream.ask.own_model.server import ModelServer
from afterview.stream.ask.question import Answer, Question
from afterview.stream.errors import Cancelled
from afterview.stream.service.answer_with_config import AnswerWithConfig, model_server
from afterview.stream.service.line import QuestionLine
from afterview.stream.service.measured import Metric

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.for_questions import AskedModel


class OwnModel:
    """One server. line: of its questions."""

    def __init__(self, config: AnswerWithConfig, server: ModelServer) -> None:
        self.config, self.server = config, server
        self.line = QuestionLine(config.longest_queue, at_once=config.at_once)
        self._threads = ThreadPoolExecutor(config.at_once, thread_name_prefix="answer")
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()  # of the counts
        self._problem = ""

    @classmethod
    def of(cls, config: AnswerWithConfig | None, environment: Mapping[str, str]) -> "OwnModel | None":
        """That of a configuration, if it has one. Raises ConfigError."""
        return None if config is None else cls(config, model_server(config, environment))

    @property
    def summary(self) -> str:
        """What a person who starts the service must know."""
        which = "questions" if self.config.questions == "all" else "questions that the built-in model declines"
        named = f"{self.server.model} at " if self.server.model else ""
        return f"answer_with: {which} go to {named}{self.server.host}: up to {self.server.frames} frames of each camera leave this machine"

    def answers(self, text: str, model: "AskedModel", memory: Memory) -> bool:
        """Whether it answers this question, and not the built-in model. In a thread: it lists the cameras."""
        if self.config.questions == "all" or model.preset.finds_only:
            return True
        scope = model.preset.scope
        return scope is not None and scope.declines(text.strip(), memory.camera_ids())

    async def ask(
        self, model: "AskedModel", question: Question, on_text: Callable[[str], None] | None = None,
        on_cameras: Callable[..., None] | None = None, *, memory: Memory, times_since_start: bool = False,
    ) -> Answer:  # fmt: skip
        """As Session.ask. Cancelling this coroutine closes the connection to the server."""
        cancel, loop = threading.Event(), asyncio.get_running_loop()
        answerer = OwnModelAnswerer(
            memory, model.encoders, self.server, times_since_start=times_since_start, on_sent=self._sent
        )
        outcome = "cancelled"
        try:
            answer = await loop.run_in_executor(
                self._threads,
                lambda: answerer.ask(question, on_text=on_text, cancel=cancel, on_cameras=on_cameras),
            )
            outcome, self._problem = "answered", ""
            return answer
        except AfterviewError as error:
            outcome = "cancelled" if isinstance(error, Cancelled) else error_kind(error)
            if isinstance(error, ModelServerError):
                self._problem = str(error)
            raise
        finally:
            cancel.set()
            self._outcomes[outcome] += 1

    def _sent(self, frames: int, size: int) -> None:
        """From its threads."""
        with self._lock:
            self._counts.update(requests=1, frames=frames, bytes=size)

    def stop(self) -> None:
        """Ask nothing more."""
        self.line.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def notes(self) -> list[str]:
        """What does not work, in sentences."""
        return [f"answer_with: {self._problem}"] if self._problem else []

    def metrics(self) -> Iterable[Metric]:
        """Numbers for /metrics."""
        with self._lock:
            counts = Counter(self._counts)
        labels = {"host": self.server.host}
        return [
            ("answer_with_requests_total", "counter", "Requests that were sent to the model server.", [(labels, counts["requests"])]),
            ("answer_with_frames_sent_total", "counter", "Frames in them.", [(labels, counts["frames"])]),
            ("answer_with_bytes_sent_total", "counter", "Bytes of their bodies.", [(labels, counts["bytes"])]),
            ("answer_with_questions_total", "counter", "Questions to the model server by outcome.",
             [({"outcome": name}, count) for name, count in sorted(self._outcomes.items())]),
            ("answer_with_waiting", "gauge", "Questions that wait for the model server.", [({}, self.line.waiting)]),
        ]  # fmt: skip
