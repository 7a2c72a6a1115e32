"""Prompts, as vLLM has them since 0.19."""

from typing import Any

MultiModalDataDict = Any


def TextPrompt(**parts: Any) -> dict[str, Any]:
    return parts


def TokensPrompt(**parts: Any) -> dict[str, Any]:
    return parts
