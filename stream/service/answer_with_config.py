"""The section `answer_with` of the service's configuration: a model server of the user's own that answers questions."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from afterview.configs import ConfigError, Schema, UsageError
from afterview.configs.loader import load_mapping
from afterview.configs.system_errors import reason
from afterview.stream.ask.own_model.server import ModelServer, split_address
from afterview.stream.service.secrets import read_secret
from afterview.stream.source.address.redact import hide_values

_VARIABLE = re.compile(r"\{(AFTERVIEW_\w+)\}")
KEY_VARIABLE = "AFTERVIEW_ANSWER_KEY"
_OF_A_SERVICE = ("questions", "at_once", "longest_queue")  # keys that mean nothing to a single question


class AnswerWithConfig(Schema):
    """An OpenAI-compatible server whose model sees pictures. Frames of the cameras leave this machine for it."""

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="Its address; nobody else is contacted, and no proxy of the environment is used.",
        examples=["http://127.0.0.1:11434/v1"],
    )
    model: str | None = Field(
        default=None, min_length=1, max_length=200, description="Its model; default: the only one that it has."
    )
    key: SecretStr | None = Field(
        default=None, description="Such as {AFTERVIEW_ANSWER_KEY}, which stands for that variable or its file."
    )
    key_file: Path | None = Field(default=None, description="File (mode 600) with the key.")
    ca: Path | None = Field(default=None, description="PEM file with the authorities that may vouch for the server.")
    questions: Literal["all", "declined"] = Field(
        default="all",
        description="Which questions it answers; declined: only those that the built-in model does not know.",
    )
    frames: int = Field(
        default=8, ge=1, le=256, description="Frames of a camera that are sent with a question, at most."
    )
    image_size: int = Field(
        default=512, ge=32, le=4320, description="Short side of the pictures that are sent, pixels."
    )
    connect_s: float = Field(default=10.0, gt=0, le=600, description="For a connection.")
    first_token_s: float = Field(
        default=60.0, gt=0, le=3600, description="Until its first word, and between two words."
    )
    timeout_s: float = Field(
        default=180.0, gt=0, le=7200, description="For the whole answer of a camera, waits for a busy server included."
    )
    max_tokens: int = Field(default=512, ge=1, le=100_000, description="Of an answer.")
    at_once: int = Field(default=2, ge=1, le=32, description="Questions that it is asked at once; more wait.")
    longest_queue: int = Field(default=16, ge=1, le=1000, description="Questions that may wait for it; more get 429.")
    stream: bool = Field(default=True, description="Whether answers are asked for word by word.")

    @model_validator(mode="before")
    @classmethod
    def _quoted(cls, values: Any) -> Any:
        if isinstance(values, dict) and not isinstance(values.get("key"), str | SecretStr | None):
            raise ValueError("key: must be text; write it in quotes")  # here, because a field's error quotes the value
        if isinstance(values, dict) and isinstance(url := values.get("url"), str) and "@" in url:
            try:
                split_address(url)
            except UsageError as error:
                raise ValueError(f"url: {error}") from None
        return values

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            split_address(url)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return url

    @model_validator(mode="after")
    def _one_key(self) -> "AnswerWithConfig":
        if self.key is not None and self.key_file is not None:
            raise ValueError("the key is given twice: by key and by key_file; leave out one")
        return self

    def from_directory(self, directory: Path) -> "AnswerWithConfig":
        """With relative paths under a directory."""
        paths = {name: getattr(self, name) for name in ("key_file", "ca")}
        return self.model_copy(
            update={name: None if path is None else directory / path.expanduser() for name, path in paths.items()}
        )


def model_server(config: AnswerWithConfig, environment: Mapping[str, str]) -> ModelServer:
    """The server of a configuration, with its key read. Raises ConfigError."""
    base, query = split_address(config.url)
    names = ("model", "frames", "image_size", "connect_s", "first_token_s", "timeout_s", "max_tokens", "stream")
    values = {name: getattr(config, name) for name in names}
    return ModelServer(base, key=_key(config, environment), query=query, tls=_authorities(config.ca), **values)


def server_given(given: str | Mapping[str, Any], environment: Mapping[str, str]) -> ModelServer:
    """The server of a call: its address, or the keys of the section. Without a key, that of the environment. Raises UsageError."""
    values = {"url": given} if isinstance(given, str) else dict(given)
    for name in _OF_A_SERVICE:
        if name in values:
            raise UsageError(f"answer_with: {name} is for a service; leave it out")
    if "key" not in values and "key_file" not in values and KEY_VARIABLE in environment:
        values["key"] = f"{{{KEY_VARIABLE}}}"
    return model_server(load_mapping(values, AnswerWithConfig, source="answer_with"), environment)


def _key(config: AnswerWithConfig, environment: Mapping[str, str]) -> str | None:
    if config.key_file is not None:
        key = read_secret(config.key_file, "answer_with.key_file", private=True)
    elif config.key is not None:
        key = config.key.get_secret_value()
        if (variable := _VARIABLE.fullmatch(key)) is not None:
            key = environment.get(variable[1], "").strip()
            if not key:
                raise ConfigError(
                    f"answer_with.key: the variable {variable[1]} is not set; set it: export {variable[1]}=..."
                )
    else:
        return None
    if not key.isascii() or not key.isprintable() or not key.strip():
        raise ConfigError("answer_with.key: a key has printable ASCII characters only; check where it comes from")
    hide_values([key])
    return key


def _authorities(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise ConfigError(f"answer_with.ca: {ca} is not a PEM certificate") from None
    except OSError as error:
        raise ConfigError(f"answer_with.ca: {ca}: {reason(error)}") from None
