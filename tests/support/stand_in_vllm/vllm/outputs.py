"""What an engine says."""

from types import SimpleNamespace
from typing import Any


class RequestOutput:
    finished, metrics, prompt_logprobs = True, None, None

    def __init__(self, text: str) -> None:
        self.prompt: str = ""
        self.prompt_token_ids = list(range(10))
        self.outputs: list[Any] = [SimpleNamespace(text=text, token_ids=list(range(5)), logprobs=None)]


class PoolingRequestOutput:
    pass
