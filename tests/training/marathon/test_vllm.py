"""Models on vLLM: what is asked goes to the engines together, and the rows are those of any other model.

Here the engines are a function. The real processor of ray.data.llm is tested in test_vllm_ray.py, with a stand-in for vLLM itself.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.configs import ConfigError, UsageError, load
from afterview.training.base.errors import MarathonError
from afterview.training.marathon.config import MarathonConfig, VllmConfig, WorldModelConfig
from afterview.training.marathon.models.answers import KeptAnswers
from afterview.training.marathon.models.batched import BatchedModel, Noted
from afterview.training.marathon.models.request import Said
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.tools import opened_tools
from afterview.training.marathon.worlds.exact import WorldModel
from tests.training.marathon.conftest import EXACT, settings
from tests.training.marathon.test_endpoint import exact

pytest.importorskip("ray", reason="the extra 'marathon' is not installed")

from afterview.training.marathon import vllm_flow
from afterview.training.marathon.vllm_flow import Answered, BatchFlow, prepared, row_of

ON_VLLM: dict[str, Any] = {"kind": "vllm", "model": "truth"}


def configured(directory: Path, **others: Any) -> Path:
    path = directory / "run.yaml"
    models = {"captioner": ON_VLLM, "writer": ON_VLLM, "looks": [ON_VLLM], "blind": EXACT}
    given = {"models": models, "clips": {"seconds": 60, "frames": 2, "image_size": 64}, "videos_per_file": 1, **others}
    path.write_text(yaml.safe_dump(settings(**given)))
    return path


class Engines:
    """Answers from the truth. batches: how many requests each had. asked: requests, by name."""

    def __init__(self, videos: Path) -> None:
        self.truth = WorldModel(videos, WorldModelConfig(kind="world"))
        self.batches: list[int] = []
        self.asked: Counter[str] = Counter()
        self.dies_at, self.spoilt, self.refuses, self.loses = 0, set[str](), set[str](), set[str]()

    def answer(self, model: BatchedModel, noted: dict[str, Noted]) -> Iterator[Answered]:
        self.batches.append(len(noted))
        for key, one in reversed(list(noted.items())):
            label = f"{one.request.purpose} {one.request.item}"
            self.asked[label] += 1
            if sum(self.asked.values()) == self.dies_at:
                raise MarathonError("the engines died")
            if label in self.loses:
                continue
            said = self.truth.ask(one.request, one.repairs, one.said)
            spoilt = label in self.spoilt and not one.repairs
            failure = "the prompt is too long (9 tokens)" if label in self.refuses else ""
            yield Answered(key, Said("hm" if spoilt else said.text, (10, 5)), failure)


@pytest.fixture
def engines(worlds: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    """In place of ray.data.llm's."""
    made = Engines(worlds)

    @contextmanager
    def opened(
        config: MarathonConfig, videos: Path, data: DataSet, kept: KeptAnswers, cpus: int
    ) -> Iterator[BatchFlow]:
        with opened_tools(config, videos, kept) as tools:
            yield BatchFlow(data, tools, kept, made.answer)

    monkeypatch.setattr(vllm_flow, "opened_vllm", opened)
    monkeypatch.setattr("afterview.training.marathon.run.require_vllm", lambda config: None)
    return made


def contents(out: Path) -> dict[str, list[str]]:
    """The rows of every stage, whatever their files."""
    found: dict[str, list[str]] = {}
    for path in sorted(out.glob("0*/*.jsonl")):
        found.setdefault(path.parent.name, []).extend(path.read_text().splitlines())
    return {stage: sorted(rows) for stage, rows in found.items()}


@pytest.fixture(scope="module")
def expected(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The rows of an exact run."""
    directory = tmp_path_factory.mktemp("exact")
    exact(directory, worlds)
    return contents(directory / "exact")


def test_the_rows_are_those_of_other_models_and_stages_are_asked_together(
    worlds: Path, tmp_path: Path, expected: dict[str, list[str]], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.spoilt = {"events a.mp4", "questions more/b.mp4/action/open"}
    ran = run(configured(tmp_path), worlds, tmp_path / "out")
    assert contents(tmp_path / "out") == expected
    assert ran.failed == 0
    assert engines.batches[0] == 7, "the clips of both videos go together"
    answers = sum(engines.batches)
    assert sum(of.get("asked", 0) for role, of in ran.asked.items() if role != "blind") == answers
    assert ran.asked["writer, checker"]["repaired"] == 2
    assert not any(of.get("kept") for of in ran.asked.values())
    again = run(configured(tmp_path), worlds, tmp_path / "out", redo="clip-captions")
    assert sum(engines.batches) == answers, "an answer was asked for twice"
    assert sum(of.get("kept", 0) for of in again.asked.values()) == answers
    monkeypatch.setattr(vllm_flow, "MOST_NOTED", 3)
    engines.batches.clear()
    run(configured(tmp_path), worlds, tmp_path / "small")
    assert contents(tmp_path / "small") == expected
    assert engines.batches[:2] == [3, 4], "a round ends when so many wait"


def test_what_fails_is_counted_and_the_rest_goes_on(
    worlds: Path, tmp_path: Path, expected: dict[str, list[str]], engines: Engines
) -> None:
    engines.refuses = {"questions a.mp4/object/open"}
    engines.loses = {"questions a.mp4/scene/choice"}
    ran = run(configured(tmp_path), worlds, tmp_path / "out")
    assert ran.failed == 2
    assert set(ran.stages["questions"]["reasons"]) == {
        "the prompt is too long", "vLLM gave back nothing for it",
    }  # fmt: skip
    assert ran.asked["writer, checker"]["failed"] == 2
    engines.refuses = engines.loses = set()
    assert run(configured(tmp_path), worlds, tmp_path / "out", redo="questions").failed == 0
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("at", [3, 30])
def test_engines_that_die_lose_nothing_that_was_answered(
    at: int, worlds: Path, tmp_path: Path, expected: dict[str, list[str]], engines: Engines
) -> None:
    engines.dies_at = at
    with pytest.raises(MarathonError):
        run(configured(tmp_path), worlds, tmp_path / "out")
    engines.dies_at = 0
    assert run(configured(tmp_path), worlds, tmp_path / "out").failed == 0
    assert [label for label, count in engines.asked.items() if count > 1] in ([], [list(engines.asked)[at - 1]])
    assert contents(tmp_path / "out") == expected


def test_without_vllm_nothing_begins(worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(
        "afterview.training.marathon.stages.tools.find_spec", lambda name: None if name == "vllm" else 1
    )
    with pytest.raises(UsageError, match=r"models.captioner: kind vllm needs vLLM.*pip install vllm.*kind: openai"):
        run(configured(tmp_path), worlds, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_only_makes_an_engine_faster_changes_no_answer() -> None:
    def identity(**others: Any) -> str:
        return BatchedModel("models.writer", VllmConfig.model_validate({**ON_VLLM, **others})).identity

    same = identity(engine={"max_model_len": 8})
    assert identity(engine={"max_model_len": 8, "tensor_parallel_size": 4, "gpu_memory_utilization": 0.5}) == same
    assert identity(engine={"max_model_len": 9}) != same
    assert identity(engine={"max_model_len": 8}, temperature=0.5) != same
    assert identity(engine={"max_model_len": 8}, engines=4, batch=8, accelerator="H100") == same


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    wrong = {**ON_VLLM, "engine": {"model": "another"}}
    path = configured(tmp_path, models={"captioner": EXACT, "writer": wrong})
    with pytest.raises(ConfigError, match=r"models.writer.*engine: has the key model; leave it out"):
        load(path, MarathonConfig)
    assert VllmConfig.model_validate({**ON_VLLM, "engine": {"tensor_parallel_size": 4}}).gpus == 4
    assert VllmConfig.model_validate({**ON_VLLM, "gpu": False}).gpus == 0


def test_a_list_of_events_is_bounded(worlds: Path, tmp_path: Path, engines: Engines) -> None:
    """A small model repeats events without end: decoding that is held to the schema ends there, and any other is told so."""
    noted: list[Noted] = []
    plain = engines.answer

    def watched(model: BatchedModel, of: dict[str, Noted]) -> Iterator[Answered]:
        noted.extend(of.values())
        yield from plain(model, of)

    engines.answer = watched  # type: ignore[method-assign]
    models = {"captioner": EXACT, "writer": ON_VLLM}
    bounded = configured(tmp_path, models=models, videos={"least_events": 1, "most_events": 2}, repairs=0)
    ran = run(bounded, worlds, tmp_path / "out", until="events")
    assert [one.request.schema()["properties"]["events"]["maxItems"] for one in noted] == [2, 2]
    assert ran.failed == 2
    assert set(ran.stages["events"]["reasons"]) == {"there are N events"}
    with pytest.raises(ConfigError, match="least_events is 4, more than most_events, 3"):
        load(configured(tmp_path, videos={"least_events": 4, "most_events": 3}), MarathonConfig)


def test_what_an_engine_is_given(worlds: Path, tmp_path: Path, engines: Engines) -> None:
    """Pictures in their message, before its text; the schema of the answer; what was wrong before."""
    given: list[tuple[BatchedModel, str, Noted]] = []
    plain = engines.answer

    def watched(model: BatchedModel, noted: dict[str, Noted]) -> Iterator[Answered]:
        given.extend((model, key, one) for key, one in noted.items())
        yield from plain(model, noted)

    engines.answer = watched  # type: ignore[method-assign]
    engines.spoilt = {"clip_caption a.mp4#0-60"}
    run(configured(tmp_path), worlds, tmp_path / "out", until="clip-captions")
    config = VllmConfig.model_validate({**ON_VLLM, "temperature": 0.5, "max_tokens": 99, "frequency_penalty": 0.25})
    row = prepared(row_of(*given[0]), config)
    content = row["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert content[0] == {"type": "text", "text": "at 15.0 s:"}
    assert row["messages"][0]["role"] == "system"
    sampling = row["sampling_params"]
    assert {key: sampling[key] for key in ("max_tokens", "seed", "temperature", "frequency_penalty")} == {
        "max_tokens": 99, "seed": 0, "temperature": 0.5, "frequency_penalty": 0.25,
    }  # fmt: skip
    assert "moments" in json.loads(sampling["structured_outputs"]["json"])["properties"]
    assert not row["__inference_error__"]
    repaired = prepared(row_of(*given[-1]), config)["messages"]
    assert isinstance(repaired[-3]["content"], list)
    assert repaired[-2:] == [
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "This cannot be used: the answer holds no valid JSON; write JSON alone, without other words. "
         "Answer the same again, as JSON alone."},
    ]  # fmt: skip


def test_a_picture_that_cannot_be_read_fails_alone(worlds: Path, tmp_path: Path, engines: Engines) -> None:
    seen: list[str] = []

    def unreadable(model: BatchedModel, noted: dict[str, Noted]) -> Iterator[Answered]:
        for key, one in noted.items():
            row = row_of(model, key, one)
            (worlds / "a.mp4").rename(worlds / "elsewhere")
            try:
                seen.append(prepared(row, model.config)["__inference_error__"])
            finally:
                (worlds / "elsewhere").rename(worlds / "a.mp4")
            yield Answered(key, Said(""), seen[-1] or "stop")

    engines.answer = unreadable  # type: ignore[method-assign]
    run(configured(tmp_path), worlds, tmp_path / "out", until="clip-captions")
    assert sum(one.startswith("its pictures cannot be read: ") for one in seen) == 3
    assert sum(not one for one in seen) == 4
