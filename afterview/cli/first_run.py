"""What a person must know who records into a new memory with a model that knows only a part of the world: once per memory, in two lines."""

import logging
from pathlib import Path

from afterview.model.checkpoint.finding import finds_only
from afterview.model.checkpoint.preset import ModelPreset

_LOGGER = logging.getLogger(__name__)


def is_new(memory: Path) -> bool:
    """Whether nothing was ever recorded into a memory."""
    return next(memory.glob("*/camera.json"), None) is None


def tell_what_it_knows(memory: Path, preset: ModelPreset) -> None:
    """Log what the model knows and which preset fits this machine, if the memory is new; what an untrained model is, each time."""
    if preset.finds_only and is_new(memory):
        _LOGGER.info("note: %s", finds_only(preset))
    if not preset.trained or preset.new_parts or preset.scope is None:
        if preset.caution:
            _LOGGER.info("note: %s", preset.caution)
        return
    if not is_new(memory):
        return
    _LOGGER.info("note: the model %s knows %s, and nothing of real footage", preset.name, preset.scope.summary)
    _LOGGER.info("note: %s", _what_fits())


def _what_fits() -> str:
    from afterview.model.base.machine import this_machine  # late: only a new memory needs it
    from afterview.model.catalogue.catalogue import catalogue, fitting

    machine = this_machine()
    room = [gpu.bytes for gpu in machine.gpus if gpu.bytes is not None]
    suits, only_fits = fitting(max(room) if room else None, machine.memory_bytes)
    here = f"this machine ({machine.describe()})"
    if suits is not None and catalogue()[suits].kind == "search":
        slow = f"; {only_fits} answers, but is slow without a GPU" if only_fits else ""
        return (
            f"for real footage {suits} fits {here}: it finds frames and does not answer: afterview models pull {suits}; then "
            f"--model {suits}{slow}"
        )
    if suits is not None:
        return f"for real footage {suits} fits {here}: afterview models pull {suits}; then --model {suits}"
    if only_fits is not None:
        return f"for real footage {only_fits} fits the memory of {here}, but is slow without a GPU; `afterview models` shows what it takes"
    return f"no preset for real footage fits the memory of {here}; `afterview models` shows what each needs"
