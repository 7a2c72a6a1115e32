"""Asks a model for answers of a shape: keeps every answer, repairs and asks again where one cannot be used, counts what happens.

An answer that was kept is never asked for again, not even an unusable one: the tries after it follow from it in the same way.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from pydantic import BaseModel

from afterview.training.marathon.models.replies import BadAnswer, answer_in, usable_part
from afterview.training.marathon.models.request import ItemFailed, Model, Request, Said, Waiting


class Kept(Protocol):
    """Where answers are kept: models.answers, or an actor in front of it."""

    def get(self, key: str) -> Said | None:
        """The answer of a key, if there is one."""

    def put(self, key: str, purpose: str, item: str, model: str, said: Said) -> Said:
        """Keep an answer durably."""


class Asker:
    """One model, for many threads. Close it at the end: `with`."""

    def __init__(self, model: Model, kept: Kept, *, repairs: int) -> None:
        """repairs: further tries of an answer that is not as it was asked for."""
        self.model, self._kept, self._repairs = model, kept, repairs
        self._pool = ThreadPoolExecutor(model.at_once, thread_name_prefix="ask")
        self._lock, self.counts = threading.Lock(), Counter[str]()

    def ask_all(self, requests: Sequence[Request]) -> list[Any | ItemFailed]:
        """The answers, in the order of the requests, each an object of its shape; ItemFailed where there is none."""
        futures = [self._pool.submit(self._settled, request) for request in requests]
        answers = [future.result() for future in futures]
        for answer in answers:  # only now: all of them are to wait together
            if isinstance(answer, Waiting):
                raise answer
        return answers

    def ask(self, request: Request) -> Any | ItemFailed:
        """One answer."""
        return self.ask_all([request])[0]

    def stop(self) -> None:
        """Give up everything that waits or is being asked; those who wait for it get an exception."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.model.stop()

    def close(self) -> None:
        """End the threads; what waits is not asked any more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _settled(self, request: Request) -> Any | ItemFailed | Waiting:
        try:
            return self._answer(request)
        except Waiting as waiting:
            return waiting
        except ItemFailed as failed:
            self._count("failed")
            return failed

    def _answer(self, request: Request) -> BaseModel:
        repairs: tuple[str, ...] = ()
        before: tuple[str, ...] = ()
        while True:
            said = self._said(request, repairs, before)
            try:
                if not said.text and not said.cut:
                    raise BadAnswer("the answer has no words")
                if said.cut:
                    raise BadAnswer(f"the answer was cut off: {said.cut}; write a shorter one")
                answer = answer_in(said.text, request.shape)
                request.check(answer)
            except ValueError as error:
                if len(repairs) == self._repairs:
                    if (part := usable_part(said.text, request.shape)) is not None:
                        self._count("shortened")
                        return part
                    raise ItemFailed(f"{error}; no usable answer after {self._repairs + 1} tries") from None
                self._count("repaired")
                repairs, before = (*repairs, str(error)), (*before, said.text)
                continue
            return answer

    def _said(self, request: Request, repairs: tuple[str, ...], before: tuple[str, ...]) -> Said:
        if not self.model.keep:
            self._count("asked")
            return self.model.ask(request, repairs, before)
        key = request.key(self.model.identity, repairs)
        if (said := self._kept.get(key)) is not None:
            self._count("kept")
            return said
        said = self.model.ask(request, repairs, before)
        self._count("asked")
        return self._kept.put(key, request.purpose, request.item, self.model.identity, said)

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
