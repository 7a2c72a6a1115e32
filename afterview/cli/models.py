"""Models for commands: torch is loaded here, not before the arguments are known to make sense, and what takes long is said."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from afterview.cli.imports import without_collection
from afterview.cli.progress import announced
from afterview.configs import UsageError

if TYPE_CHECKING:
    from afterview.memory.base.feature_spec import FeatureSpec
    from afterview.model.checkpoint.for_questions import AskedModel
    from afterview.model.checkpoint.models import AfterviewModel, Encoders

QUESTION_FIRST_S = 0.5  # of silence, where a person waits for an answer

Announce = Callable[[str], AbstractContextManager[object]]


def require_weights(
    name: str,
    index: str | None = None,
    recorded: "FeatureSpec | None" = None,
    *,
    with_index: bool = True,
    whole_for: str | None = None,
) -> None:
    """Raise NotPulled, which names the command, if weights are not on this machine: before torch is loaded, and without asking the hub.

    whole_for: what needs a model that answers; for one that only finds frames NoLanguageModel is raised. What else is wrong with a model,
    loading it says.
    """
    from afterview.model.download.needed import require_pulled  # late: commands that use no model must not wait for it

    if whole_for is not None:
        _require_answers(name, whole_for)
    with contextlib.suppress(UsageError):
        require_pulled(name, index, _recorded_index(recorded), with_index=with_index)
        _remember(name)


def _remember(name: str) -> None:
    """Note a preset of the user's own, so that `models remove` keeps what it needs. Raises UsageError."""
    from afterview.configs import preset_names  # late: it loads pydantic

    if name in preset_names():
        return
    from afterview.model.checkpoint.preset import find_preset  # late: few have presets of their own
    from afterview.model.download.own_presets import remember_preset

    remember_preset(find_preset(name))


def _require_answers(name: str, what: str) -> None:
    from afterview.model.checkpoint.finding import require_answers
    from afterview.model.checkpoint.preset import find_preset

    try:
        preset = find_preset(name)
    except UsageError:
        return  # loading it says what is wrong
    require_answers(preset, what)


def load_model(
    name: str, index: str | None = None, *, recorded: "FeatureSpec | None" = None, announce: Announce = announced
) -> "AskedModel":
    """Load what answers questions. index: --index-encoder. recorded: of the memory that is asked. announce: says what is being loaded.

    Raises what load_pretrained raises.
    """
    require_weights(name, index, recorded)
    with announce(_IMPORTS), _imports():
        from afterview.model.checkpoint.for_questions import load_for_questions
    with announce(f"loading model {name}"):
        return load_for_questions(name, index_encoder=index, recorded_index=_recorded_index(recorded))


def load_whole_model(name: str, index: str | None = None) -> "AfterviewModel":
    """Load a model that answers a question about a recording. Raises NoLanguageModel before anything is loaded."""
    require_weights(name, index, whole_for="a question to a recording")
    with announced(_IMPORTS), _imports():
        from afterview.model.checkpoint.loading import load_pretrained
    with announced(f"loading model {name}"):
        return load_pretrained(name, index_encoder=index)


def load_model_encoders(
    name: str, index: str | None = None, *, recorded: "FeatureSpec | None" = None, announce: Announce = announced
) -> "Encoders":
    """Load only the encoders of a model. The arguments are those of `load_model`."""
    require_weights(name, index, recorded)
    with announce(_IMPORTS), _imports():
        from afterview.model.checkpoint.loading import load_encoders
    with announce(f"loading model {name}"):
        return load_encoders(name, index_encoder=index, recorded_index=_recorded_index(recorded))


def for_a_question(*, as_json: bool) -> Announce:
    """How a command that answers one question says what it loads: soon, because somebody waits; a program that reads JSON does not."""
    return (lambda step: nullcontext()) if as_json else (lambda step: announced(step, first_s=QUESTION_FIRST_S))


_IMPORTS = "loading PyTorch and transformers"


@contextmanager
def _imports() -> Iterator[None]:
    with without_collection(freeze="torch" not in sys.modules):  # loaded already: not a command in a process of its own
        yield


def _recorded_index(recorded: "FeatureSpec | None") -> str | None:
    return None if recorded is None else recorded.index.encoder
