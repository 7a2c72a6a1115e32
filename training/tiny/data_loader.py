"""Draws batches ahead in other processes. A batch depends only on its number, not on the process or the time."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any, Self

import torch
from transformers import PreTrainedTokenizerFast

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.training.tiny.bank import BankConfig, leave_ctrl_c, plan_bank
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stories import Shelf, StoryBatch, make_batch, shelf_of
from afterview.training.tiny.texts import Words

_shelf: Shelf | None = None
_words: Words | None = None


def _prepare_worker(bank: BankConfig, tokenizer: Path) -> None:
    leave_ctrl_c()
    torch.set_num_threads(1)
    _prepare(bank, tokenizer)


def _prepare(bank: BankConfig, tokenizer: Path) -> None:
    """Load the shared data, once per process."""
    global _shelf, _words
    _shelf, _words = shelf_of(plan_bank(bank)), Words(PreTrainedTokenizerFast.from_pretrained(tokenizer))


def _draw(plan: LessonPlan, forgetting: ForgettingConfig, seed: int, number: int) -> StoryBatch:
    assert _shelf is not None and _words is not None, "_prepare was called"  # noqa: PT018
    return make_batch(plan, _shelf, _words, forgetting, seed=seed, number=number)


class DataLoader:
    """Batches of the present lesson, by number."""

    def __init__(
        self, bank: BankConfig, tokenizer: Path, forgetting: ForgettingConfig, *, seed: int, workers: int, ahead: int
    ) -> None:
        """tokenizer: its directory. workers: processes; 1: draw in this process, 0: one per core, minus one. ahead: batches drawn ahead."""
        self._forgetting, self._seed, self._ahead = forgetting, seed, ahead
        self._waiting: dict[int, AsyncResult[StoryBatch]] = {}
        self._plan: LessonPlan | None = None
        workers = workers or max(1, (os.cpu_count() or 2) - 1)
        self._pool = (
            multiprocessing.get_context("spawn").Pool(workers, _prepare_worker, (bank, tokenizer))
            if workers > 1
            else None
        )
        if self._pool is None:
            _prepare(bank, tokenizer)

    def batch(self, plan: LessonPlan, number: int) -> StoryBatch:
        """Batch `number` of a lesson."""
        if self._pool is None:
            return _draw(plan, self._forgetting, self._seed, number)
        if plan is not self._plan:
            self._plan, self._waiting = plan, {}
        for later in range(number, number + self._ahead):
            if later not in self._waiting:
                work: Callable[..., Any] = _draw
                self._waiting[later] = self._pool.apply_async(work, (plan, self._forgetting, self._seed, later))
        return self._waiting.pop(number).get()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._pool is not None:
            self._pool.terminate()
