"""A stand-in for vLLM, as far as ray.data.llm calls it: an engine that looks its answers up in the directory of its model.

answers.json: the answer to a request, by the JSON data at its end. refused.json: data that it refuses, as one does that is too long.
spoilt.json: data to which it answers nonsense unless the request says what was wrong. What happens is written to happened.txt there.
"""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vllm import outputs, sampling_params
from vllm.sampling_params import SamplingParams

__all__ = ["AsyncEngineArgs", "AsyncLLMEngine", "SamplingParams", "outputs", "sampling_params"]


class AsyncEngineArgs:
    def __init__(self, *, model: str, runner: str, **others: Any) -> None:
        self.model, self.others = Path(model), others
        assert runner == "generate"

    def create_engine_config(self) -> Any:
        return SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=8), parallel_config=SimpleNamespace(pipeline_parallel_size=1)
        )


class AsyncLLMEngine:
    @staticmethod
    def from_engine_args(arguments: AsyncEngineArgs, stat_loggers: Any = None) -> "AsyncLLMEngine":
        return AsyncLLMEngine(arguments)

    def __init__(self, arguments: AsyncEngineArgs) -> None:
        self._directory = arguments.model
        if arguments.others.get("dtype") == "impossible":
            raise ValueError("the dtype impossible is not known")
        self._note(f"start {arguments.others.get('max_model_len')}")
        self._answers = self._read("answers", {})
        self._refused, self._spoilt = self._read("refused", []), self._read("spoilt", [])

    def _read(self, name: str, otherwise: Any) -> Any:
        path = self._directory / f"{name}.json"
        return json.loads(path.read_text()) if path.is_file() else otherwise

    def _note(self, text: str) -> None:
        with (self._directory / "happened.txt").open("a") as file:
            file.write(f"{text}\n")

    async def generate(
        self, *, request_id: str, prompt: Any, sampling_params: SamplingParams, lora_request: Any
    ) -> Any:
        await asyncio.sleep(0)
        words = prompt["prompt"]
        pictures = (prompt["multi_modal_data"] or {}).get("image", [])
        assert words.count("<image>") == len(pictures), "each picture has its place"
        assert words.endswith("<assistant>")
        data = words.rpartition("\n```json\n")[2].partition("\n```")[0]
        schema = json.loads(sampling_params.structured_outputs.json)["title"]
        self._note(f"ask {schema} {len(pictures)} {sampling_params.max_tokens} {sampling_params.temperature}")
        if data in self._refused:
            raise ValueError("the prompt is longer than max_model_len")
        said = "hm" if data in self._spoilt and "This cannot be used" not in words else self._answers[data]
        yield outputs.RequestOutput(said)

    async def do_log_stats(self) -> None:
        pass

    def shutdown(self) -> None:
        pass
