"""Models for the public functions: what of them is not on this machine is said before torch is loaded, which takes seconds."""

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.configs import UsageError
from afterview.model.base.errors import NotPulled

if TYPE_CHECKING:
    import torch

    from afterview.model.checkpoint.models import AfterviewModel

_LOGGER = logging.getLogger(__name__)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # variables of the hub's client
_YES = ("1", "ON", "YES", "TRUE")


def load_pretrained(
    name_or_path: str | os.PathLike[str],
    *,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    init_memaug: bool = False,
    index_encoder: str | None = None,
    recorded_index: str | None = None,
    changes: Mapping[str, object] | None = None,
) -> "AfterviewModel":
    """Load a whole model.

    name_or_path: a preset, a preset file, a directory in the published layout, or a hub id; what of it is not on this machine is fetched
    from the hub, and a logged note names the command that fetches it with a check of room and checksums. device: default the first CUDA
    device, otherwise the CPU. dtype: default bfloat16 on CUDA, float32 on the CPU. init_memaug: accept a LLaVA checkpoint without MemAug
    and initialise one from the preset's seed. index_encoder: a SigLIP checkpoint with both towers, instead of the preset's.
    recorded_index: the one that a memory was recorded with; it is used if the preset names none. changes: other keys of the preset to
    replace.

    Raises ModelNotFound, NotPulled (the hub may not be asked, and weights are not here), HubUnreachable, CheckpointError and its
    subclasses, BackendUnavailable, and NoLanguageModel for a model that only finds frames.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise UsageError(f"name_or_path: give the name of a model, or a path, not {type(name_or_path).__name__}")
    place = os.fsdecode(name_or_path)
    if changes is None:  # else they may name other weights
        say_what_is_missing(place, index_encoder, recorded_index)
    from afterview.model.checkpoint import loading  # late: it loads torch

    return loading.load_pretrained(
        Path(place) if isinstance(name_or_path, os.PathLike) else place, device=device, dtype=dtype, init_memaug=init_memaug,
        index_encoder=index_encoder, recorded_index=recorded_index, changes=changes,
    )  # fmt: skip


def say_what_is_missing(name: str, index: str | None = None, recorded: str | None = None) -> None:
    """Log which weights of a model loading must fetch. index, recorded: as of load_pretrained. Raises NotPulled where the hub may not be
    asked. What else is wrong with a model, loading it says."""
    from afterview.model.checkpoint.preset import find_preset  # late: most calls give a model that is loaded
    from afterview.model.download.needed import require_pulled
    from afterview.model.download.own_presets import remember_preset

    try:
        with contextlib.suppress(UsageError):
            remember_preset(find_preset(name))
            require_pulled(name, index, recorded)
    except NotPulled as error:
        if any(os.environ.get(variable, "").upper() in _YES for variable in _OFFLINE):
            raise
        _LOGGER.warning("note: %s; loading asks the hub for them now", error)
