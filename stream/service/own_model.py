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
from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
from afterview.stream.ask.own_model.server import ModelServer
from afterview.stream.ask.question import Answer, Question
from afterview.stream.errors import Cancelled
from afterview.stream.service.answer_with_config import AnswerWithConfig, model_server
from afterview.stream.service.line import QuestionLine
from afterview.stream.service.measured import Metric

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.for_questions import AskedModel


class Tally:
    """What was sent to model servers since the service began, by host, and how their questions ended. From any thread."""

    def __init__(self) -> None:
        self._sent: dict[str, Counter[str]] = {}
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def used(self) -> bool:
        """Whether anything was counted."""
        return bool(self._sent or self._outcomes)

    def sent(self, host: str, frames: int, size: int) -> None:
        """A request left. size: bytes."""
        with self._lock:
            self._sent.setdefault(host, Counter()).update(requests=1, frames=frames, bytes=size)

    def ended(self, outcome: str) -> None:
        """A question ended."""
        with self._lock:
            self._outcomes[outcome] += 1

    def metrics(self, current: "OwnModel | None") -> Iterable[Metric]:
        """Numbers for /metrics. current: the server that is asked now."""
        with self._lock:
            sent = {host: Counter(counts) for host, counts in self._sent.items()}
            outcomes = Counter(self._outcomes)
        waiting = 0
        if current is not None:
            sent.setdefault(current.server.host, Counter())
            waiting = current.line.waiting

        def each(what: str) -> list[tuple[Mapping[str, str], float | None]]:
            return [({"host": host}, counts[what]) for host, counts in sorted(sent.items())]

        return [
            ("answer_with_requests_total", "counter", "Requests that were sent to the model server.", each("requests")),
            ("answer_with_frames_sent_total", "counter", "Frames in them.", each("frames")),
            ("answer_with_bytes_sent_total", "counter", "Bytes of their bodies.", each("bytes")),
            ("answer_with_questions_total", "counter", "Questions to the model server by outcome.",
             [({"outcome": name}, count) for name, count in sorted(outcomes.items())]),
            ("answer_with_waiting", "gauge", "Questions that wait for the model server.", [({}, waiting)]),
        ]  # fmt: skip


class OwnModel:
    """One server. line: of its questions. tally: where they are counted."""

    def __init__(self, config: AnswerWithConfig, server: ModelServer) -> None:
        self.config, self.server, self.tally = config, server, Tally()
        self.line = QuestionLine(config.longest_queue, at_once=config.at_once)
        self._threads = ThreadPoolExecutor(config.at_once, thread_name_prefix="answer")
        self._asking: set[threading.Event] = set()  # set one, and its question ends
        self._problem = self._retired = ""

    @classmethod
    def of(cls, config: AnswerWithConfig | None, environment: Mapping[str, str]) -> "OwnModel | None":
        """That of a configuration, if it has one. Raises ConfigError."""
        return None if config is None else cls(config, model_server(config, environment))

    @property
    def what_goes(self) -> str:
        """What a person who starts the service, or changes its configuration, must know."""
        which = "questions" if self.config.questions == "all" else "questions that the built-in model declines"
        named = f"{self.server.model} at " if self.server.model else ""
        return f"{which} go to {named}{self.server.host}: {self.server.what_it_gets}"

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
        if self._retired:  # since its turn came
            raise self._gone()
        cancel, loop = threading.Event(), asyncio.get_running_loop()
        server, outcome = self.server, "cancelled"
        answerer = OwnModelAnswerer(
            memory, model.encoders, server, times_since_start=times_since_start,
            on_sent=lambda frames, size: self.tally.sent(server.host, frames, size),
        )  # fmt: skip
        self._asking.add(cancel)
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
            if self._retired and isinstance(error, Cancelled):
                raise self._gone() from None
            raise
        finally:
            cancel.set()
            self._asking.discard(cancel)
            self.tally.ended(outcome)

    def stop(self) -> None:
        """Ask nothing more: the service ends."""
        self.line.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def retire(self, why: str | None) -> None:
        """No question comes any more. why: what became of the server, which is sent nothing more; None: what was asked goes on."""
        if why is not None:
            self._retired = why
            self.line.close(self._gone)
            for cancel in self._asking:
                cancel.set()

    def _gone(self) -> ModelServerBusy:
        what = f"answer_with was {self._retired} while the model server {self.server.host} was asked"
        return ModelServerBusy(f"{what}; nothing more is sent to it, ask again", 1)

    def notes(self) -> list[str]:
        """What does not work, in sentences."""
        return [f"answer_with: {self._problem}"] if self._problem else []
