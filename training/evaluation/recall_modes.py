"""Ways to recall in an evaluation, as `--recall` names them: a mode, or a budget of frames. Pure; worlds.with_recall applies them."""

from typing import Final

from afterview.training.base.errors import BenchmarkError

RecallMode = str  # one of NAMED, or a budget in frames such as "64"
NAMED: Final = ("bounded", "full", "decayed")
_LARGEST: Final = 10_000  # frames of a budget; `full` has no limit


def check_recall(mode: RecallMode) -> None:
    """Raises BenchmarkError for what is neither a mode's name nor a budget."""
    if mode in NAMED:
        return
    if not (mode.isascii() and mode.isdecimal()):
        raise BenchmarkError(f"--recall {mode}: choose from {', '.join(NAMED)}, or give a budget in frames, such as 64")
    if len(mode) > 12 or not 1 <= int(mode) <= _LARGEST or mode != str(int(mode)):
        raise BenchmarkError(f"--recall {mode}: a budget has 1 to {_LARGEST} frames; `full` recalls all of them")


def recall_called(mode: RecallMode) -> str:
    """For tables: `bounded recall`, or `recall of 64 frames`."""
    return f"{mode} recall" if mode in NAMED else f"recall of {mode} frames"
