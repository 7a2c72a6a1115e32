"""A model that answers many requests together: it notes what it is asked, until a flow (training.marathon.vllm_flow) answers all of it."""

import json
import threading
from dataclasses import dataclass
from typing import Final

from afterview.training.marathon.config import VllmConfig
from afterview.training.marathon.models.request import ItemFailed, Request, Said, Waiting

_ONLY_SPEED: Final = frozenset(
    {
        "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend", "gpu_memory_utilization",
        "max_num_seqs", "max_num_batched_tokens", "enable_prefix_caching", "enable_chunked_prefill", "enforce_eager", "swap_space",
        "disable_log_stats", "download_dir",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Noted:
    """A request that waits. repairs, said: of the tries before."""

    request: Request
    repairs: tuple[str, ...]
    said: tuple[str, ...]


class BatchedModel:
    """A model on vLLM. noted: what waits, by key; an answer that comes is kept by its key, and then asked for again."""

    def __init__(self, name: str, config: VllmConfig, *, sees: bool = False) -> None:
        """name: of the setting, for messages. sees: whether pictures are shown."""
        self.name, self.config, self._sees = name, config, sees
        self.noted: dict[str, Noted] = {}
        self.answered = 0  # in this run
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """The model, and what shapes an answer; not what only makes it faster."""
        given = self.config
        engine = {name: value for name, value in given.engine.items() if name not in _ONLY_SPEED}
        said = json.dumps(engine, sort_keys=True, default=str)
        pictures = f" {given.pictures}" if self._sees else ""
        drawn = f"{given.temperature} {given.frequency_penalty}"
        return f"vllm {given.model} {given.answers} {drawn} {given.max_tokens} {said}{pictures}"

    @property
    def at_once(self) -> int:
        """To note a request takes no time."""
        return 1

    @property
    def sees(self) -> bool:
        """Whether pictures are shown."""
        return self._sees

    @property
    def keep(self) -> bool:
        """They cost, and this is how they are handed over."""
        return True

    def stop(self) -> None:
        """Nothing is being asked."""

    def ask(self, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> Said:
        """Notes the request, and raises Waiting; or ItemFailed if it was answered by a failure."""
        key = request.key(self.identity, repairs)
        with self._lock:
            if key in self._failed:
                raise ItemFailed(self._failed[key])
            self.noted[key] = Noted(request, repairs, said)
        raise Waiting

    def settled(self, key: str, failure: str = "") -> None:
        """A request does not wait any more: its answer is kept, or it failed for this reason."""
        with self._lock:
            self.noted.pop(key, None)
            if failure:
                self._failed[key] = failure
            else:
                self.answered += 1
