"""What the index of a memory takes: one embedding a frame, in float32. Read from a config.json where it is here; nothing is fetched."""

from pathlib import Path
from typing import Final

from afterview.model.base.checkpoint_files import CONFIG_FILE
from afterview.model.checkpoint.pair import is_plausible, read_json_file
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.download.cache import CachedModel, cache_directory

FRAMES_PER_HOUR: Final = 3600  # at one frame a second
INDEX_WIDTH: Final = (
    768  # of google/siglip-base-patch16-224, the default; and of a SigLIP whose config.json leaves it out
)
_NUMBER_BYTES: Final = 4


def index_bytes_per_hour(width: int = INDEX_WIDTH) -> int:
    """Of one camera's embeddings of this width. (The files of its search index, which can be made anew, come on top: at most as much.)"""
    return FRAMES_PER_HOUR * _NUMBER_BYTES * width


def index_width(preset: ModelPreset) -> int:
    """Numbers of one embedding; 0 for a preset without an index encoder, INDEX_WIDTH while its config.json is not here."""
    if preset.index_encoder is None:
        return 0
    place = Path(preset.index_encoder).expanduser()
    cached = CachedModel(preset.index_encoder, cache_directory())
    found = place / CONFIG_FILE if place.is_dir() else cached.find(CONFIG_FILE)
    config = {} if found is None else read_json_file(found)
    own = config.get("vision_config", config)
    width = own.get("hidden_size", INDEX_WIDTH) if isinstance(own, dict) else INDEX_WIDTH
    return int(width) if is_plausible("hidden_size", width) else INDEX_WIDTH
