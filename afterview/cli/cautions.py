"""What a person must know about the model that a camera was recorded with, without loading it."""

import os

from afterview.configs import AfterviewError


def caution_of(model: str) -> str | None:
    """That a model is untrained, if its preset file or directory is here and says so. model: as a memory names it. Never raises."""
    if not os.path.isabs(model):  # shipped presets and hub ids are trained
        return None
    from afterview.model.checkpoint.preset import find_preset  # late: most memories need none

    try:
        preset = find_preset(model)
    except AfterviewError:
        return None  # it is gone, or was changed; asking says what is wrong
    return preset.caution if preset.new_parts else None
