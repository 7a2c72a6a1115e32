"""Checkpoints of a training: what accelerate saves (parameters, optimizer, random state of each process), and how far it has come.

state/progress.json    {"step", "global_batch": samples of a step, "processes", "sums", "summed": of the log line that is open,
                       "items": problems so far (training.data.report)}
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator
from accelerate.utils import MODEL_NAME, OPTIMIZER_NAME, RNG_STATE_NAME, SAFE_MODEL_NAME
from accelerate.utils import load as load_saved
from safetensors import SafetensorError, safe_open

from afterview.configs import UsageError
from afterview.training.base.errors import TrainingError
from afterview.training.core.saved_state import written_state

STATE: Final = "state"
PROGRESS: Final = "progress.json"

_LOGGER = logging.getLogger(__name__)


def save_state(accelerator: Accelerator, directory: Path, progress: dict[str, Any]) -> None:
    """Write a checkpoint. The previous one stays intact until the new one is complete. Every process calls this.

    Raises TrainingError if the system refuses it, for example because the disk is full.
    """
    unfinished, final = directory / f"{STATE}.unfinished", directory / STATE
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a save that was cut off, in more processes perhaps
    accelerator.wait_for_everyone()
    with written_state(unfinished, final, PROGRESS, step=progress["step"]):
        accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    with written_state(unfinished, final, PROGRESS, step=progress["step"]):
        (unfinished / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
    old = directory / f"{STATE}.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(unfinished, final)
    shutil.rmtree(old, ignore_errors=True)


def find_state(directory: Path) -> Path | None:
    """The checkpoint of a training, or None. One that was being replaced when the process ended is put back."""
    state, old = directory / STATE, directory / f"{STATE}.old"
    if not state.exists() and old.exists():  # the process ended between the two renames
        os.replace(old, state)
    return state if state.exists() else None


def load_state(accelerator: Accelerator, state: Path, *, seed: int) -> dict[str, Any]:
    """Load a checkpoint into what accelerate has prepared. Returns its progress.

    seed: of the random state, if another number of processes saved it. Raises TrainingError for a damaged checkpoint and for one that does
    not fit.
    """
    try:
        accelerator.load_state(str(state))
        progress: dict[str, Any] = json.loads((state / PROGRESS).read_text(encoding="utf-8"))
        saved_by, here = processes_of(state), accelerator.num_processes
        if saved_by == here:
            # load_state ignores random states that it cannot read. Without them the training would differ.
            load_saved(state / f"{RNG_STATE_NAME}_{accelerator.process_index}.pkl")["torch_manual_seed"]
        else:
            torch.manual_seed(seed + int(progress["step"]) * here + accelerator.process_index)
            _LOGGER.info("%s: saved by %d processes, continued by %d", state, saved_by, here)
        int(progress["step"])
    except Exception as error:  # pickle, safetensors, accelerate and torch raise many types for damaged files
        _LOGGER.debug("%s: cannot be read", state, exc_info=True)
        if (damaged := _damaged_file(state)) is not None:
            raise TrainingError(
                f"{state}: cannot be resumed from: {damaged} is missing or damaged; restore it, or delete it to start again: {state}"
            ) from error
        raise TrainingError(
            f"{state}: is whole, but does not fit this training ({_first_line(error)}); give the model and the configuration that it was "
            "started with, or another --out"
        ) from error
    return progress


def processes_of(state: Path) -> int:
    """How many processes saved a checkpoint."""
    return max(1, len(list(state.glob(f"{RNG_STATE_NAME}_*.pkl"))))


def global_batch_of(directory: Path, saved: dict[str, Any] | None) -> int | None:
    """Samples per step of the checkpoint in `directory`; None without one.

    saved: the configuration that it was started with. Checkpoints of earlier versions state only that.
    """
    state = find_state(directory)
    if state is None:
        return None
    try:
        progress = json.loads((state / PROGRESS).read_text(encoding="utf-8"))
        if "global_batch" in progress:
            return int(progress["global_batch"])
        if saved is not None:
            return int(saved["batch"]) * int(saved["trainer"].get("accumulate", 1)) * processes_of(state)
    except (OSError, ValueError, TypeError, KeyError):
        _LOGGER.debug("%s: no global batch", state, exc_info=True)  # loading it reports what is wrong
    return None


def accumulation(global_batch: int, batch: int, processes: int) -> int:
    """How many batches each process accumulates so that a step has `global_batch` samples. Raises UsageError if none fits."""
    accumulate, rest = divmod(global_batch, batch * processes)
    if accumulate and not rest:
        return accumulate
    fitting = [count for count in range(1, global_batch // batch + 1) if global_batch % (batch * count) == 0]
    fits = ", ".join(map(str, fitting)) or "none"
    raise UsageError(
        f"this training takes {global_batch} samples per step, which {processes} processes with batches of {batch} cannot share evenly; "
        f"launch another number of processes (with batches of {batch}: {fits}), or change `batch`: the checkpoint stays as it is"
    )


def _damaged_file(state: Path) -> str | None:
    """The first file of a checkpoint that is missing or cannot be read; None if all can. Shards of a sharded one are not read."""
    if (state / f"{SAFE_MODEL_NAME}.safetensors").exists() or not list(state.glob(f"{MODEL_NAME}*")):
        try:
            with safe_open(state / f"{SAFE_MODEL_NAME}.safetensors", framework="pt") as file:
                file.keys()
        except (OSError, SafetensorError):
            return f"{SAFE_MODEL_NAME}.safetensors"
    pickles = [*state.glob(f"{RNG_STATE_NAME}_*.pkl")] or [state / f"{RNG_STATE_NAME}_0.pkl"]
    if not list(state.glob(f"{OPTIMIZER_NAME}_*")):  # not sharded
        pickles.append(state / f"{OPTIMIZER_NAME}.bin")
    for path in sorted(pickles):
        try:
            if not isinstance(load_saved(path), dict):
                return path.name
        except Exception:  # pickle raises any type
            return path.name
    try:
        int(json.loads((state / PROGRESS).read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, TypeError, KeyError):
        return PROGRESS
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(":") if lines else type(error).__name__
