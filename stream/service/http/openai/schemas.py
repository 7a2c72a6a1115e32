"""Answers under /v1, for the OpenAPI document. OpenAI may add keys, and so may this service."""

from typing import Any, Literal

from pydantic import Field

from afterview.stream.service.http.schemas import Response


class OpenAiErrorBody(Response):
    """What went wrong. param: the part of the request. code: a word for programs."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None
    code: str | None


class OpenAiErrorDocument(Response):
    """Every error under /v1."""

    error: OpenAiErrorBody


class ModelDocument(Response):
    """A name by which the model can be called. max_model_len: tokens that it takes, if that is known."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None


class ModelList(Response):
    """All names."""

    object: Literal["list"]
    data: list[ModelDocument]


class Usage(Response):
    """Tokens: of the model's input, with those of the video, and of the answer; of all cameras together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Added(Response):
    """What Afterview adds: evidence, coverage and provenance as /api/v1/ask has them. warnings: what of the request is not used."""

    id: str
    declined: bool
    evidence: list[dict[str, Any]]
    coverage: dict[str, Any] | None
    provenance: dict[str, Any] | None
    cameras: list[dict[str, Any]]
    skipped: dict[str, str]
    notes: list[str]
    warnings: list[str]


class ChatMessageDocument(Response):
    """The answer's message."""

    role: Literal["assistant"]
    content: str


class Choice(Response):
    """The only one. finish_reason: `length` if the answer had as many tokens as were allowed."""

    index: int
    message: ChatMessageDocument
    finish_reason: Literal["stop", "length"]


class ChatCompletion(Response):
    """An answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    afterview: Added


class ResponseDocument(Response):
    """An answer of /v1/responses. Nothing of it is kept under its id."""

    id: str
    object: Literal["response"]
    status: Literal["completed", "incomplete"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any]
    afterview: Added
