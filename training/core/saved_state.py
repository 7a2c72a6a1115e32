"""Writing a checkpoint of a training: a full disk is named, with what is still there and how to continue."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterview.configs.system_errors import reason
from afterview.model.checkpoint.saving import as_os_error
from afterview.training.base.errors import TrainingError

_LOGGER = logging.getLogger(__name__)


@contextmanager
def written_state(unfinished: Path, final: Path, progress: str, *, step: int) -> Iterator[None]:
    """Write the checkpoint of a step in `unfinished`. If the system refuses it, what was written is removed, to free its space.

    progress: the file of a checkpoint that holds its step. Raises TrainingError.
    """
    try:
        yield
    except Exception as error:
        refused = as_os_error(error, unfinished)
        if refused is None:
            raise
        _LOGGER.debug("%s: cannot be written", unfinished, exc_info=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(
            f"{final}: the checkpoint of step {step} cannot be written: {reason(refused, action='written')}; then --resume continues "
            f"{_from(final / progress)}"
        ) from error


def _from(progress: Path) -> str:
    try:
        return f"from the checkpoint of step {int(json.loads(progress.read_text(encoding='utf-8'))['step'])}, which is complete"
    except (OSError, ValueError, KeyError, TypeError):
        return "at step 0: there is no earlier checkpoint"
