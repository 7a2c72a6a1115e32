"""`--answer-with URL`: questions of a command to a model server of the user's own."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from afterview.configs.errors import UsageError

if TYPE_CHECKING:
    from afterview.cli.here import Here
    from afterview.cli.models import Announce
    from afterview.memory.base.feature_spec import FeatureSpec
    from afterview.memory.directory import Memory
    from afterview.stream.ask.own_model.server import ModelServer

_NEEDS = {
    "answer_model": "--answer-model",
    "answer_frames": "--answer-frames",
    "answer_image_size": "--answer-image-size",
    "answer_timeout": "--answer-timeout",
}


def chosen_server(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> "ModelServer | None":
    """The server that was given; None: the built-in model answers. Raises UsageError, ConfigError."""
    if arguments.answer_with is None:
        for name, option in _NEEDS.items():
            if getattr(arguments, name) is not None:
                raise UsageError(f"{option} is about a model server; give its address, too: --answer-with URL")
        return None
    from afterview.stream.ask.own_model.server import split_address  # late: few give a server
    from afterview.stream.service.answer_with_config import KEY_VARIABLE, AnswerWithConfig, model_server
    from afterview.stream.service.secrets import SecretVariables

    try:
        split_address(arguments.answer_with)
    except UsageError as error:
        raise UsageError(f"--answer-with: {error}") from None
    variables = SecretVariables(environment)
    values = {
        "model": arguments.answer_model,
        "key": f"{{{KEY_VARIABLE}}}" if KEY_VARIABLE in variables else None,
        "frames": arguments.answer_frames,
        "image_size": arguments.answer_image_size,
        "timeout_s": arguments.answer_timeout,
    }
    _require_ranges(arguments)
    given = {name: value for name, value in values.items() if value is not None}
    return model_server(AnswerWithConfig.model_validate({"url": arguments.answer_with, **given}), variables)


def _require_ranges(arguments: argparse.Namespace) -> None:
    for name, low, high in (
        ("answer_frames", 1, 256),
        ("answer_image_size", 32, 4320),
        ("answer_timeout", 0.001, 7200),
    ):
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{_NEEDS[name]} {value:g}: must be from {low:g} to {high:g}")
    if arguments.answer_model is not None and not 1 <= len(arguments.answer_model) <= 200:
        raise UsageError("--answer-model: a name has 1 to 200 characters")


def here_with(
    server: "ModelServer", memory: "Memory", spec: "FeatureSpec", arguments: argparse.Namespace, announce: "Announce"
) -> "Here":
    """Who answers: the encoders of the memory find the frames, and the server says what they show. Raises what load_encoders raises."""
    from afterview.cli.here import Here
    from afterview.cli.models import load_model_encoders
    from afterview.stream.ask.own_model.answerer import OwnModelAnswerer

    model = arguments.model or spec.model
    encoders = load_model_encoders(model, arguments.index_encoder, recorded=spec, announce=announce)
    notice = f"questions go to {server.host}: {server.what_it_gets}"
    return Here(memory, OwnModelAnswerer(memory, encoders, server), notice)
