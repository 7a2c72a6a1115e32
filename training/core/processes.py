"""What the processes of one training agree on: failures, weights of the loss, items that were left out. Every process calls these.

With one process nothing is exchanged.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from afterview.training.base.errors import TrainingError
from afterview.training.data.report import ItemProblem

T = TypeVar("T")


def done_by_all(accelerator: Accelerator, work: Callable[[], T], what: str) -> T:
    """The result of `work`. If it fails in one process, all of them raise here, so that none waits for another for ever."""
    done, failed = None, None
    try:
        done = work()
    except Exception as error:
        failed = error
    if accelerator.num_processes > 1 and float(_sum(accelerator, [float(failed is not None)])[0]) and failed is None:
        raise TrainingError(f"another process could not {what}; its message says why")
    if failed is not None:
        raise failed
    return done  # type: ignore[return-value]


def over_processes(
    accelerator: Accelerator, weight: float, problems: list[ItemProblem]
) -> tuple[float, list[ItemProblem]]:
    """The sum of the weights of a step, and the problems of all processes, in the same order everywhere."""
    if accelerator.num_processes == 1:
        return weight, problems
    total, found = _sum(accelerator, [weight, float(len(problems))]).tolist()
    return total, sorted(gather_object(problems)) if found else []


def require_same(accelerator: Accelerator, value: str, what: str) -> None:
    """Raise TrainingError in every process unless `value` is the same in all."""
    values = gather_object([value]) if accelerator.num_processes > 1 else [value]
    for process, other in enumerate(values):
        if other != values[0]:
            raise TrainingError(
                f"process {process} found other {what} than process 0; all processes must see the same files"
            )


def _sum(accelerator: Accelerator, values: list[float]) -> Tensor:
    added: Tensor = accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=accelerator.device), "sum")
    return added
