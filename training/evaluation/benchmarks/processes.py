"""Which of several processes this is, as `accelerate launch` and `torchrun` say it in the environment."""

import os
from dataclasses import dataclass

from afterview.training.base.errors import BenchmarkError


@dataclass(frozen=True)
class Process:
    """process: 0 to processes - 1. local: among those of this machine, by which a GPU is chosen."""

    process: int = 0
    processes: int = 1
    local: int = 0

    @classmethod
    def of_environment(cls) -> "Process":
        """This process. Raises BenchmarkError for numbers that make no sense."""
        own = cls(*(_number(name, least) for name, least in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))))
        if own.process >= own.processes:
            raise BenchmarkError(
                f"RANK is {own.process} of WORLD_SIZE {own.processes}; unset both, or start with `accelerate launch`"
            )
        return own

    @property
    def device(self) -> str | None:
        """The GPU of this process; None: as a single process chooses."""
        if self.processes == 1:
            return None
        import torch  # late: `--check` needs none

        return f"cuda:{self.local % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def _number(name: str, least: int) -> int:
    text = os.environ.get(name, str(least))
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= 100_000:
        raise BenchmarkError(
            f"{name} is '{text}'; it must be a whole number of at least {least}, as `accelerate launch` sets it"
        )
    return int(text)
