"""The public functions of `import afterview`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from afterview.memory.directory import Memory
from afterview.memory.sync.replica import open_memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Answer, Question

__all__ = ["ask", "load_pretrained", "open"]


def open(path: str | Path) -> Memory:
    """Open the memory at `path` for reading, beside its writers.

    path: a directory; or s3://bucket/prefix, the store of a memory that another machine records, as it was published when it is opened.
    A camera that cannot be read does not prevent it: `Memory.skipped` names such cameras. Raises MemoryNotFound, UsageError (no such
    address), StoreError (the store cannot be used), DamagedMemory, Unreadable (the system refuses to list the directory).
    """
    return open_memory(str(path))


def ask(
    memory: Memory | str | Path,
    question: str,
    *,
    camera: str | Sequence[str] = (),
    start: float | None = None,
    at: float | None = None,
    last_s: float | None = None,
    seed: int = 0,
    model: Any = None,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Ask about anything a memory has seen. Times are Unix seconds.

    memory: from `afterview.open`, or its path. camera: names; none means all. start, at: the span (at is its end; default
    everything). model: from `load_pretrained`, or its name; default the one that the memory was recorded with.
    on_text receives the text as it is generated. Each part of the answer has its evidence: the frames of highest weight, with images.

    Raises UsageError (an empty question, a span that ends before it begins), MemoryNotFound (no such camera), NothingRecorded,
    SpecMismatch (recorded with another model), StoreError, DamagedMemory, and what load_pretrained raises.
    """
    opened = memory if isinstance(memory, Memory) else open(memory)
    cameras = (camera,) if isinstance(camera, str) else tuple(camera)
    if model is None or isinstance(model, str):
        first = opened.camera(cameras[0]) if cameras else opened.cameras()[0]
        model = load_pretrained(model or first.spec.model)
    asked = Question(question, cameras, start, at, last_s, seed)
    return Answerer(opened, model).ask(asked, on_text=on_text)
