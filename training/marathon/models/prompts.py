"""Prompts in versioned files (configs/marathon/prompts), as chat messages. The last message ends with the data as a JSON block."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from afterview.configs import Schema, load
from afterview.training.marathon.config import prompts_directory
from afterview.training.marathon.models.request import PURPOSES, Purpose
from afterview.training.marathon.tasks import SUMMARY


class Exemplar(Schema):
    """An example of data and of a good answer. of: data that it is for, such as `topic: object`; empty: for all."""

    of: dict[str, str] = Field(default_factory=dict)
    data: dict[str, Any]
    answer: dict[str, Any]


class PromptFile(Schema):
    """One file."""

    version: int = Field(ge=1)
    system: str = Field(min_length=1)
    user: str = Field(min_length=1)
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt. hash: of its file."""

    purpose: Purpose
    hash: str
    file: PromptFile

    def messages(self, data: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
        """The messages for some data."""
        said = [{"role": "system", "content": self.file.system.strip()}]
        for one in self.file.exemplars:
            if all(data.get(key) == value for key, value in one.of.items()):
                said.append({"role": "user", "content": self._user(one.data)})
                said.append({"role": "assistant", "content": _json(one.answer)})
        return (*said, {"role": "user", "content": self._user(data)})

    def _user(self, data: Mapping[str, Any]) -> str:
        return f"{self.file.user.strip()}\n\n```json\n{_json(data)}\n```"


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False)


def prompt_path(purpose: Purpose) -> Path:
    """The file of a prompt."""
    return prompts_directory() / f"{purpose}.yaml"


@cache
def prompt(purpose: Purpose) -> Prompt:
    """A shipped prompt. Raises ConfigError."""
    path = prompt_path(purpose)
    return Prompt(purpose, hashlib.sha256(path.read_bytes()).hexdigest()[:16], load(path, PromptFile))


@cache
def exemplar_questions() -> frozenset[str]:
    """The questions of the shipped examples, casefolded: about no video of anybody. That for a summary fits every video."""
    said = [question for one in prompt("questions").file.exemplars for question in one.answer["questions"]]
    return frozenset(str(one["question"]).casefold() for one in said if one["task"] != SUMMARY)


def prompt_hashes() -> dict[str, str]:
    """The hash of every prompt, by purpose."""
    return {purpose: prompt(purpose).hash for purpose in PURPOSES}


def data_in(message: str) -> dict[str, Any]:
    """The data of a message, for servers that answer from it. Raises ValueError."""
    _, fence, rest = message.rpartition("\n```json\n")
    value = json.loads(rest.removesuffix("\n```")) if fence else None
    if not isinstance(value, dict):
        raise ValueError("the message has no data")
    return value
