"""Models that find frames and do not answer: an index encoder without a language model. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from afterview.model.base.errors import NoLanguageModel
from afterview.model.base.generation import GenerationSettings
from afterview.model.checkpoint.preset import ModelPreset

if TYPE_CHECKING:  # encoders are handed in
    from afterview.model.checkpoint.models import Encoders

HOW_TO_GET_ANSWERS = (
    "answers come from a vision model that you run (--answer-with URL; answer_with in the configuration of a service), or from a model "
    "with a language model (`afterview models` lists them; `afterview reembed` makes a memory ready for one)"
)


@dataclass(frozen=True)
class FindingModel:
    """A model that finds frames and does not answer. It has what searching and recording need of a whole model."""

    encoders: "Encoders"

    @property
    def preset(self) -> ModelPreset:
        """Its preset; `finds_only` is true."""
        return self.encoders.preset

    @property
    def notice(self) -> str | None:
        """A warning that the encoders are not trained, if so."""
        return self.preset.notice

    @property
    def trained(self) -> bool:
        """Whether the encoders are trained."""
        return self.preset.trained

    @property
    def generation(self) -> GenerationSettings:
        """The default settings: nothing is generated."""
        return GenerationSettings()

    @property
    def config(self) -> Mapping[str, Any]:
        """Of a decoder: empty, because there is none."""
        return {}


def finds_only(preset: ModelPreset) -> str:
    """What such a model does, and how to get answers, in a sentence."""
    return (
        f"model '{preset.reference}' finds frames and does not answer (it has no language model); {HOW_TO_GET_ANSWERS}"
    )


def require_answers(preset: ModelPreset, what: str = "") -> None:
    """Raise NoLanguageModel if a model only finds frames. what: that needs one that answers, such as `training`."""
    if not preset.finds_only:
        return
    if not what:
        raise NoLanguageModel(finds_only(preset))
    raise NoLanguageModel(
        f"{what} needs a language model, which '{preset.reference}' does not have: it finds frames and does not answer; "
        "`afterview models` lists others"
    )
