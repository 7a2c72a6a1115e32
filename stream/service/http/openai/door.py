"""The door for clients of OpenAI: everything under /v1."""

from collections import Counter

from fastapi import FastAPI

from afterview.stream.service.engine import Engine
from afterview.stream.service.http.openai.asking import Asking
from afterview.stream.service.http.openai.responses import responses_routes
from afterview.stream.service.http.openai.routes import openai_routes
from afterview.stream.service.openai_config import OpenAiConfig
from afterview.stream.service.questions import Questions

_HEAD_ROOM = 1 << 20  # bytes of a request beside what comes with it


def add_openai(app: FastAPI, engine: Engine, questions: Questions, counted: Counter[str], url: str) -> None:
    """Everything under /v1, unless the configuration switches it off."""
    if engine.config.openai.enabled:
        asking = Asking(engine, questions, counted, url)
        app.include_router(openai_routes(asking))
        app.include_router(responses_routes(asking))


def larger_bodies(config: OpenAiConfig) -> dict[str, int]:
    """By path, how large a body may be: pictures and videos come in base64."""
    if not config.enabled:
        return {}
    return dict.fromkeys(("/v1/chat/completions", "/v1/responses"), config.largest_bytes * 4 // 3 + _HEAD_ROOM)
