"""The real processor of ray.data.llm in a real session of Ray. Only vLLM itself is a stand-in (tests/support/stand_in_vllm)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterview.training.marathon.models.request import Request, Said
from afterview.training.marathon.worlds.exact import WorldModel
from tests.training.marathon.test_endpoint import exact
from tests.training.marathon.test_vllm import configured, contents

pytest.importorskip("ray", reason="the extra 'marathon' is not installed")

STAND_IN = Path(__file__).parents[2] / "support/stand_in_vllm"
TEMPLATE = (
    "{% for one in messages %}<{{ one.role }}>{% if one.content is string %}{{ one.content }}{% else %}{% for part in one.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<image>{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def model(worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as of a model: a tokenizer with a chat template, and the answers to everything that is asked."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    answers: dict[str, str] = {}
    plain = WorldModel.ask

    def ask(self: WorldModel, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> Said:
        answer = plain(self, request, repairs, said)
        assert answers.setdefault(json.dumps(dict(request.data), ensure_ascii=False), answer.text) == answer.text
        return answer

    monkeypatch.setattr(WorldModel, "ask", ask)
    exact(tmp_path, worlds)
    directory = tmp_path / "model"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")), unk_token="[UNK]"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)
    (directory / "config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}')
    (directory / "answers.json").write_text(json.dumps(answers))
    return directory


def marathon(config: Path, worlds: Path, out: Path, *others: str) -> tuple[int, dict[str, Any], str]:
    """The command in a process of its own, which finds the stand-in."""
    path = os.pathsep.join((str(STAND_IN), os.environ.get("PYTHONPATH", str(Path(__file__).parents[3]))))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    environment.pop("RAY_ADDRESS", None)
    program = "import sys; from afterview.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = ["marathon", "run", str(config), "--videos", str(worlds), "--out", str(out), "--json", "-q", *others]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], env=environment, capture_output=True, timeout=1500, text=True
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_ray_s_own_processor_makes_the_same_rows(worlds: Path, model: Path, tmp_path: Path) -> None:
    given = {"kind": "vllm", "model": str(model), "gpu": False, "max_tokens": 64, "engine": {"max_model_len": 4096}}
    captioner = {**given, "temperature": 0.5}
    answers = json.loads((model / "answers.json").read_text())
    events = [data for data, said in answers.items() if said.startswith('{"events"')]
    titles = [data for data in answers if data.startswith('{"event"')]
    (model / "spoilt.json").write_text(json.dumps(events[:1]))
    (model / "refused.json").write_text(json.dumps(titles[:1]))
    models = {"captioner": captioner, "writer": given}
    config = configured(tmp_path, models=models)
    status, ran, said = marathon(config, worlds, tmp_path / "out", "--until", "event-captions")
    assert status == 1, said
    assert ran["failed"] == 1
    assert ran["stages"]["event-captions"]["reasons"] == {"the prompt is longer than max_model_len": 1}
    assert ran["asked"]["captioner"]["asked"] == 7
    assert ran["asked"]["writer, checker"]["repaired"] == 1
    (model / "refused.json").unlink()
    status, ran, said = marathon(
        config, worlds, tmp_path / "out", "--until", "event-captions", "--redo", "event-captions"
    )
    assert (status, ran["failed"]) == (0, 0), said
    assert ran["asked"]["writer, checker"]["asked"] == 1
    expected, made = contents(tmp_path / "exact"), contents(tmp_path / "out")
    assert made == {stage: expected[stage] for stage in made}
    assert "05-event-captions" in made
    happened = (model / "happened.txt").read_text().splitlines()
    assert {one for one in happened if one.startswith("ask Clip")} == {"ask ClipCaptionAnswer 2 64 0.5"}
    assert {one for one in happened if one.startswith("start")} == {"start 4096"}
    impossible = configured(tmp_path, models={**models, "captioner": {**captioner, "engine": {"dtype": "impossible"}}})
    status, _, said = marathon(impossible, worlds, tmp_path / "other")
    assert status == 1
    assert "models.captioner: vLLM failed with" in said
    assert "the dtype impossible is not known" in said
    status, _, said = marathon(
        configured(tmp_path, models={"captioner": {**given, "gpu": True}, "writer": given}), worlds, tmp_path / "gpu"
    )
    assert status == 2
    assert "models.captioner: an engine needs 1 GPU, and Ray sees 0; run where they are" in said
