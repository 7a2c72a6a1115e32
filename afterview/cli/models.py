"""Models for commands: torch is loaded here, not before the arguments are known to make sense, and what takes long is said."""

from typing import TYPE_CHECKING

from afterview.cli.progress import announced

if TYPE_CHECKING:
    from afterview.memory.base.feature_spec import FeatureSpec
    from afterview.model.checkpoint.models import AfterviewModel, Encoders


def load_model(name: str, index: str | None = None, *, recorded: "FeatureSpec | None" = None) -> "AfterviewModel":
    """Load a whole model. index: --index-encoder. recorded: of the memory that is asked. Raises what load_pretrained raises."""
    with announced(f"loading model {name}"):
        from afterview.model.checkpoint.loading import load_pretrained

        return load_pretrained(name, index_encoder=index, recorded_index=_recorded_index(recorded))


def load_model_encoders(name: str, index: str | None = None, *, recorded: "FeatureSpec | None" = None) -> "Encoders":
    """Load only the encoders of a model. The arguments are those of `load_model`."""
    with announced(f"loading model {name}"):
        from afterview.model.checkpoint.loading import load_encoders

        return load_encoders(name, index_encoder=index, recorded_index=_recorded_index(recorded))


def _recorded_index(recorded: "FeatureSpec | None") -> str | None:
    return None if recorded is None else recorded.index.encoder
