"""A model's configuration."""

from typing import Any


class ModelConfig:
    def __init__(self, model: str, dtype: str, **others: Any) -> None:
        self.model = model
