"""Questions and searches of a command by way of the service that holds the memory.

`ask` comes here before anything heavy is imported, and what reads and prints answers, without NumPy and pydantic, is imported while the
service works (`python -m tests.bench service`).
"""

import argparse
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview import __version__
from afterview.cli.imports import without_collection
from afterview.cli.models import for_a_question
from afterview.configs.errors import AfterviewError, UsageError
from afterview.memory.base.camera import ANSWERS
from afterview.memory.base.errors import SpecMismatch
from afterview.memory.base.held_directory import hold_memory, place_of
from afterview.memory.base.store_address import is_on_store
from afterview.stream.service.client import ServiceClient, ServiceGone, find_service
from afterview.stream.service.errors import ModelNotReady

if TYPE_CHECKING:
    from afterview.stream.ask.answer_record import AnswerRecord, Record, SearchRecord
    from afterview.stream.ask.question import Question
    from afterview.stream.ask.saved_answers import Saved

OnText = Callable[[str], None]

_LOGGER = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.25  # whether the service has its model
_REMEDY = "--no-service loads a model in this command instead"


def service_for(arguments: argparse.Namespace, memory: Path) -> "ByService | None":
    """The service that holds the memory, with its model loaded. None: there is none, or it is not wanted, or a note says why not.

    Raises UsageError for a model that the service does not have, ModelNotReady.
    """
    if arguments.no_service or is_on_store(arguments.memory):
        return None
    try:
        held = hold_memory(memory)
    except OSError:
        return None  # there is no memory: opening it says so
    client, why = find_service(held.path)
    if client is not None:
        try:
            model = _loaded(client, arguments)
        except (TimeoutError, ServiceGone):
            why = f"{client.holder} serves this memory, but does not answer"
        else:
            _require_model(model, arguments)
            return ByService(client, memory, model["notice"] or None)
    if why:
        _LOGGER.warning("note: %s; this command loads a model of its own", why)
    return None


def _loaded(client: ServiceClient, arguments: argparse.Namespace) -> Mapping[str, str]:
    """The service's model once it is loaded. Raises ModelNotReady, TimeoutError, ServiceGone."""
    said = client.get("/service")
    if said["version"] != __version__:
        _LOGGER.warning(
            "note: the service of this memory is afterview %s, this command %s; restart the service",
            said["version"],
            __version__,
        )
    model: Mapping[str, str] = said["model"]
    if model["state"] == "loading":
        announce = for_a_question(as_json=arguments.json)
        with announce("waiting for the service of this memory, which is loading its model"):
            while model["state"] == "loading":
                time.sleep(_LOOK_EVERY_S)
                model = client.get("/service")["model"]
    if model["state"] != "ready":
        raise ModelNotReady(f"the service of this memory could not load its model: {model['detail']}; {_REMEDY}")
    return model


def _require_model(model: Mapping[str, str], arguments: argparse.Namespace) -> None:
    has = "the service of this memory has loaded"
    if arguments.model is not None:
        from afterview.model.checkpoint.preset import find_preset  # late: few give --model

        if find_preset(arguments.model).reference != model["name"]:
            raise UsageError(
                f"--model {arguments.model}: {has} {model['name']}; leave out --model, or add --no-service"
            )
    if arguments.index_encoder not in (None, model["index_encoder"]):
        raise UsageError(
            f"--index-encoder {arguments.index_encoder}: {has} {model['index_encoder']}; leave it out, or add --no-service"
        )


class ByService:
    """Lets the service answer. It saves in the memory what it answers; here that is opened. notice: what to know about its model."""

    def __init__(self, client: ServiceClient, memory: Path, notice: str | None) -> None:
        self._client, self._memory, self.notice = client, memory, notice

    def ask(
        self, question: "Question", *, subtitles: str | None = None, on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> "tuple[AnswerRecord, Saved]":  # fmt: skip
        """An answer, and where it was saved. Arguments and errors as of Answerer.ask; also ServiceGone, TooManyQuestions, Stopping.

        subtitles: the text of a file of them, which the service reads.
        """
        body = question.to_dict() | ({} if subtitles is None else {"subtitles": subtitles})
        for own, name in (("text", "question"), ("last_s", "last"), ("max_new_tokens", "max_tokens")):
            body[name] = body.pop(own)
        answer: dict[str, Any] = {}

        def meanwhile() -> None:
            _prepare(self._memory, question.cameras)

        with _remedies():
            for kind, document in self._client.events("/ask", body, sent=meanwhile, cancel=cancel):
                if kind == "text" and on_text is not None:
                    on_text(document["text"])
                if kind == "answer":
                    answer = document
                    break
        return self._opened(answer)

    def search(
        self,
        text: str,
        cameras: Sequence[str],
        start: str | None,
        at: str | None,
        last: str | None,
        top: int,
        as_is: bool = False,
    ) -> "tuple[SearchRecord, Saved]":
        """What was found, and where it was saved. Times are texts as on the command line."""
        body = {"text": text, "cameras": list(cameras), "start": start, "at": at, "last": last, "top": top}
        if as_is:  # an older service does not know the key
            body["as_is"] = True
        with _remedies():
            found = self._client.post("/search", body, sent=lambda: _prepare(self._memory, cameras))
        return self._opened(found)

    def _opened(self, document: Mapping[str, Any]) -> Any:
        """What the service saved, as a command without a service would have it."""
        from afterview.stream.ask.answer_record import opened
        from afterview.stream.ask.saved_answers import Saved, open_saved

        said = document["saved"]
        notes = tuple(said["notes"])
        for note in document["notes"]:
            if note not in notes:  # those are shown with the answer
                _LOGGER.warning("note: %s", note)
        if said["directory"] is None:
            about, parts = document["documents"]
            record: Record = opened(document["id"], about, parts, lambda camera, frame: b"")
            return record, Saved(None, {}, False, notes)
        directory = Path(said["directory"])
        if said["in_memory"]:
            directory = hold_memory(self._memory).path / ANSWERS / document["id"]
        record, images = open_saved(directory)
        return record, Saved(place_of(directory), images, said["in_memory"], notes)


def _prepare(memory: Path, cameras: Sequence[str]) -> None:
    """While the service works: import what prints its answer, and say which cameras are meant, as a command without a service does."""
    with without_collection():
        from afterview.cli.output import records  # noqa: F401
        from afterview.memory.base.camera_names import find_camera

    for name in cameras:
        find_camera(memory, name)


@contextmanager
def _remedies() -> Iterator[None]:
    """Errors that the command alone could avoid say how."""
    try:
        yield
    except (SpecMismatch, ModelNotReady) as error:
        error.args = (f"{error}; {_REMEDY}",)
        raise
    except TimeoutError:
        raise ServiceGone(f"the service of this memory does not answer; {_REMEDY}") from None
    except AfterviewError as error:
        if getattr(error, "kind", None) == "invalid_request":
            raise UsageError(f"the service does not take that: {error}; {_REMEDY}") from None
        raise
