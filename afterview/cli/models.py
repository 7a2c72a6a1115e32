"""Models for commands: torch is loaded here, not before the arguments are known to make sense, and what takes long is said."""

from typing import TYPE_CHECKING

from afterview.cli.progress import announced

if TYPE_CHECKING:
    from afterview.model.checkpoint.models import AfterviewModel, Encoders


def load_model(name: str) -> "AfterviewModel":
    """Load a whole model. Raises what load_pretrained raises."""
    with announced(f"loading model {name}"):
        from afterview.model.checkpoint.loading import load_pretrained

        return load_pretrained(name)


def load_model_encoders(name: str) -> "Encoders":
    """Load only the encoders of a model."""
    with announced(f"loading model {name}"):
        from afterview.model.checkpoint.loading import load_encoders

        return load_encoders(name)
