"""A model of each kind of preset, made here: small, with random weights, in the layouts in which real ones are published."""

from collections.abc import Callable
from pathlib import Path

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import save_pretrained
from tests.support.flash import flash_preset
from tests.support.presets import write_preset
from tests.support.siglip2 import write_search_preset

FINDS_ONLY = "search"


def _hour_llava(directory: Path) -> str:
    """A checkpoint directory of the published layout."""
    place = directory / "checkpoint"
    save_pretrained(load_pretrained(write_preset(directory), device="cpu", dtype="float32"), place)
    return str(place)


KINDS: dict[str, Callable[[Path], str]] = {  # an empty directory -> what --model takes
    "tiny": lambda directory: "tiny",
    "hour-llava": _hour_llava,
    "videochat-flash": lambda directory: str(flash_preset(directory)),
    FINDS_ONLY: lambda directory: str(write_search_preset(directory)),
}
