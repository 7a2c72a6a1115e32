"""The tools that an assistant can call, without its protocol: from checked arguments to what is said.

Belongs to the event loop; what reads the memory runs in the engine's threads.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from afterview.configs import AfterviewError, Schema
from afterview.configs.errors import error_kind
from afterview.configs.system_errors import describe
from afterview.stream.service.asked import Ask
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound, Stopping
from afterview.stream.service.mcp import arguments, looking, results
from afterview.stream.service.mcp.handles import Handles, Held
from afterview.stream.service.mcp.results import Result
from afterview.stream.service.people.access import Access
from afterview.stream.service.questions import Questions
from afterview.stream.source.address.redact import redact

PATIENCE_S = 8.0  # common clients give up after 10 s
_LOADING_EVERY_S = 0.1
_PICTURES_WITHIN_S = 1.0  # after an answer; those on a store may take longer
_GRACE_S = 1.5  # beyond the patience, for what has no handle

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who calls. base: address of the HTTP API for links to pictures, without a slash at its end; None where there is none.

    cancelled: set when the client no longer wants the result, where cancelling the coroutine does not say so.
    """

    access: Access
    base: str | None = None
    cancelled: asyncio.Event | None = None


Document = dict[str, Any]


@dataclass(frozen=True)
class Late:
    """The document of an answer. saved: whether it can be opened again by its id; known of those alone that took long."""

    document: Document
    saved: bool


class Tools:
    """Calls them. One for all clients; each call sees only what its caller may."""

    def __init__(
        self, engine: Engine, questions: Questions, *, patience_s: float | None = None, handles: Handles | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """wake: called before a model is needed, to load one that is loaded on demand."""
        self._engine, self._questions, self._wake = engine, questions, wake
        self._patience_s, self._handles = PATIENCE_S if patience_s is None else patience_s, handles or Handles()
        self._tools: dict[str, Callable[[Any, Caller], Coroutine[Any, Any, Result]]] = {
            "ask": self._ask, "search": self._search, "cameras": self._cameras, "timeline": self._timeline,
            "frame": self._frame, "answer_status": self._answer_status,
        }  # fmt: skip

    async def call(self, name: str, given: Mapping[str, Any] | None, caller: Caller) -> Result:
        """What a tool says; also what goes wrong. name: one of arguments.FORMS. Cancelling it ends a question that it asked."""
        try:
            form = arguments.check(name, given)
            async with asyncio.timeout(self._patience_s + _GRACE_S):
                return await _unless_cancelled(self._tools[name](form, caller), caller.cancelled)
        except TimeoutError:
            why = f"{name}: the memory did not answer within {self._patience_s + _GRACE_S:.0f} s; try again, or ask for less"
            return results.failed("too_slow", why)
        except (AfterviewError, OSError) as error:
            return self._refused(error)
        except Exception:
            _LOGGER.exception("the tool %s failed", name)
            return results.failed("unexpected", "this is a bug; the service's log has more")

    def _refused(self, error: AfterviewError | OSError) -> Result:
        if isinstance(error, AfterviewError):
            kind, said = error_kind(error), str(error)
        else:
            kind, said = "os", describe(error)
        path, said = self._engine.path, redact(said)
        return results.failed(kind, said.replace(str(path), "the memory") if path.is_absolute() else said)

    # --- questions and searches ---

    async def _ask(self, form: arguments.Ask, caller: Caller) -> Result:
        asked = Ask(
            form.question, form.cameras or (), form.start, form.at, form.last, form.follows, subtitles=form.subtitles
        )
        return await self._answer("question", lambda: self._questions.ask(asked, caller.access), form.pictures, caller)

    async def _search(self, form: arguments.Search, caller: Caller) -> Result:
        return await self._answer(
            "search",
            lambda: self._questions.search(
                form.text, form.cameras or (), form.start, form.at, form.last, form.top, caller.access
            ),
            0,
            caller,
        )

    async def _answer(
        self, what: str, ask: Callable[[], Coroutine[Any, Any, Document]], pictures: int, caller: Caller
    ) -> Result:
        """The answer, or a handle for it."""
        late = asyncio.Event()

        async def work() -> Late:
            self._wake()
            while self._engine.model_state == "loading":
                await asyncio.sleep(_LOADING_EVERY_S)
            document = await ask()
            return Late(document, late.is_set() and await self._engine.read(lambda: self._is_saved(document, caller)))

        self._handles.require_room(caller.access.user)
        task = self._engine.spawn(work())
        try:
            done, _ = await asyncio.wait({task}, timeout=self._patience_s)
        except asyncio.CancelledError:
            task.cancel()  # nobody has its handle
            raise
        if not done:
            late.set()
            handle = self._handles.add(Held(caller.access.user, what, task, pictures))
            return results.waiting(handle, what, self._patience_s, self._handles.kept_s)
        return await self._shown(_result_of(task).document, pictures, caller)

    async def _answer_status(self, form: arguments.AnswerStatus, caller: Caller) -> Result:
        held = self._handles.get(form.handle, caller.access.user)
        done, _ = await asyncio.wait({held.task}, timeout=self._patience_s)
        if not done:
            return results.waiting(form.handle, held.what, self._patience_s, self._handles.kept_s)
        return await self._shown(await self._again(_result_of(held.task), caller.access), held.pictures, caller)

    def _is_saved(self, document: Document, caller: Caller) -> bool:
        try:
            self._questions.answer(document["id"], caller.access)
        except NotFound:
            return False
        return True

    async def _again(self, late: Late, access: Access) -> Document:
        """An answer as its client may see it now: what was deleted or forgotten since, or is no longer theirs, is not shown.

        Raises NotFound. An answer that could not be saved is shown from here, while its cameras may be seen.
        """
        document = late.document

        def opened() -> Document:
            record = self._questions.answer(document["id"], access)
            return {**self._questions.document(record, access), "notes": document["notes"]}

        if late.saved:
            return await self._engine.read(opened)
        if not all(access.sees(camera) for camera in _cameras_of(document)):
            raise NotFound(f"no saved answer '{document['id']}'")
        return document

    async def _shown(self, document: Document, pictures: int, caller: Caller) -> Result:
        if document["kind"] == "search":
            return results.found(document, caller.base)
        result = results.answered(document, caller.base)
        if not pictures:
            return result
        frames = [(item["camera"], item["frame"]) for item in document["evidence"][:pictures]]
        return results.with_pictures(result, *await self._pictures(frames, caller.access))

    async def _pictures(self, frames: list[tuple[str, int]], access: Access) -> tuple[list[bytes], list[str]]:
        try:
            async with asyncio.timeout(_PICTURES_WITHIN_S):
                return await self._engine.read(lambda: looking.pictures_of(self._engine.view(access), access, frames))
        except TimeoutError:
            return [], ["the pictures did not come in time; call frame for one of them, or follow the links"]

    # --- looking ---

    async def _cameras(self, form: Schema, caller: Caller) -> Result:
        engine, access = self._engine, caller.access
        states = {
            camera.id: camera.to_dict(engine.model_state)
            for camera in engine.cameras.values()
            if access.sees(camera.id)
        }
        document = await engine.read(lambda: looking.camera_list(engine, access, states))
        return results.listed(
            document, datetime.fromtimestamp(document["now"]).astimezone().isoformat(timespec="seconds")
        )

    async def _timeline(self, form: arguments.Timeline, caller: Caller) -> Result:
        def work() -> Document:
            snapshot = looking.snapshot_of(self._engine.view(caller.access), caller.access, form.camera)
            return looking.camera_timeline(snapshot, form.start, form.end)

        return results.line_of_time(await self._engine.read(work))

    async def _frame(self, form: arguments.Frame, caller: Caller) -> Result:
        def work() -> Document:
            snapshot = looking.snapshot_of(self._engine.view(caller.access), caller.access, form.camera)
            return looking.camera_frame(snapshot, form.at, form.frame)

        document = await self._engine.read(work)
        result = results.framed(document, caller.base, picture=form.picture)
        if not form.picture:
            return result
        frames = [(document["camera"], document["frame"])]
        return results.with_pictures(result, *await self._pictures(frames, caller.access))


def _cameras_of(document: Document) -> list[str]:
    return [part["camera"] for part in (*document.get("cameras", ()), *document.get("hits", ()))]


def _result_of(task: "asyncio.Task[Late]") -> Late:
    if task.cancelled():
        raise Stopping("the service is ending, or the question was cancelled; ask again")
    return task.result()


async def _unless_cancelled(work: Coroutine[Any, Any, Result], cancelled: asyncio.Event | None) -> Result:
    """The result of work that ends when `cancelled` is set."""
    if cancelled is None:
        return await work
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({task, cast("asyncio.Future[Any]", waiting)}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return results.failed("cancelled", "the call was cancelled")
        return task.result()
    finally:
        for one in (task, waiting):
            one.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
