"""How an engine is to answer."""

from dataclasses import dataclass


@dataclass
class StructuredOutputsParams:
    json: str


@dataclass
class SamplingParams:
    max_tokens: int
    seed: int
    structured_outputs: StructuredOutputsParams | None = None
    temperature: float = 1.0
