"""Without a network and without weights: every command that needs weights names the command that fetches them, at once."""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.cli.main import build_parser
from afterview.memory.writing.open import open_camera
from tests.support.clips import make_clip
from tests.support.hub_server import HubServer
from tests.support.memory_world import make_frame, make_spec
from tests.support.processes import ROOT, environment

# Runs commands, or expressions of Python, one after the other. Prints of each: status, errors, output, seconds of CPU, whether torch was
# loaded, and the addresses that were looked up or connected to. The interpreter's own start is not counted.
PROGRAM = """
import contextlib, io, json, os, sys, time
asked = []
def note(event, details):
    if event == "socket.connect" and isinstance(details[1], tuple):
        asked.append(str(details[1][0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(str(details[0]))
sys.addaudithook(note)
from afterview.cli.main import main
import afterview
found = []
for work in json.loads(sys.argv[1]):
    began, asked[:] = time.process_time(), []
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        if isinstance(work, list):
            status = main(work)
        else:
            try:
                status = eval(work) and 0
            except afterview.AfterviewError as error:
                status = 1
                print(type(error).__name__ + ": " + str(error), file=sys.stderr)
    found.append([status, err.getvalue(), out.getvalue(), time.process_time() - began, "torch" in sys.modules, list(asked)])
print(json.dumps(found))
"""


def in_empty_network(*arguments: str, cache: Path) -> str:
    """What a Python program prints in a network namespace that has nothing but a loopback that is down."""
    command = ["unshare", "-rn", sys.executable, *arguments]
    more = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**more), timeout=120)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def _namespaces() -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network namespace (unshare -rn)")


NAMES = [  # what is asked for; FILE: a preset file of the user's own
    "hour-llava-3b",
    *(
        pytest.param(name, marks=pytest.mark.thorough)
        for name in ("videochat-flash-2b", "search", "own/model", "own/model@v2", "FILE")
    ),
]
ANSWERS = {
    "ask --recording",
    "evaluate needle",
    "evaluate run",
    "evaluate worker",
    "evaluate world",
    "extract",
    "train",
}  # need a model that answers: `search` is refused in other words


def commands_with_weights() -> set[str]:
    """Every command that has --model, from the parser."""

    def walk(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, own in action.choices.items():
                    yield from walk(own, f"{name} {word}".strip())
            elif "--model" in action.option_strings:
                yield name

    return set(walk(build_parser(), ""))


def functions(model: str, place: Path) -> dict[str, str]:
    """Every function of Python that needs the weights of a model. They fetch what is missing where a hub can be reached."""
    python = f"memory={str(place / 'memory')!r}, camera='hall', model={model!r}"
    return {
        "afterview.ask": f"afterview.ask(question='What happened?', {python})",
        "afterview.ask(answer_with)": f"afterview.ask(question='What?', answer_with='http://127.0.0.1:9', {python})",
        "afterview.search": f"afterview.search(text='a red car', {python})",
        "afterview.load_pretrained": f"afterview.load_pretrained({model!r})",
    }


def doors(model: str, place: Path, clip: str) -> dict[str, list[str]]:
    """Every command that needs the weights of a model."""
    memory, new = str(place / "memory"), str(place / "new")
    here, chosen = ["--memory", memory], ["--model", model]
    answer = ["--answer-with", "http://127.0.0.1:9"]
    return {
        "watch": ["watch", "rtsp://127.0.0.1:9/x", "--memory", new, *chosen],
        "replay": ["replay", clip, "--memory", new, *chosen],
        "ask": ["ask", "What happened?", *here, *chosen],
        "ask --json": ["ask", "What happened?", *here, *chosen, "--json"],
        "ask --answer-with": ["ask", "What happened?", *here, *chosen, *answer],
        "ask --recording": ["ask", "What happened?", "--recording", clip, *chosen],
        "chat": ["chat", *here, *chosen],
        "chat --answer-with": ["chat", *here, *chosen, *answer],
        "search": ["search", "a red car", *here, *chosen],
        "reembed": ["reembed", *here, *chosen],
        "extract": ["extract", clip, "--out", str(place / "bank"), *chosen],
        "evaluate world": ["evaluate", "world", *chosen],
        "evaluate needle": ["evaluate", "needle", "--out", str(place / "needles"), *chosen],
        "evaluate retrieval": ["evaluate", "retrieval", *chosen],
        "evaluate worker": ["evaluate", "worker", "--work", str(place / "worker"), *chosen],
        "evaluate run": ["evaluate", "run", "own", "--data", str(place), "--out", str(place / "results"), *chosen],
    }


@pytest.mark.integration
@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize("name", NAMES)
def test_every_door_that_needs_weights_names_the_pull_within_a_second(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ncheckpoint: own/model\nindex_encoder: own/index\n")
    model, wanted = (str(file), str(file)) if name == "FILE" else (name, name)
    spec = make_spec().model_copy(update={"model": model})
    with open_camera(tmp_path / "memory", "hall", spec) as repository:
        repository.append(make_frame(0, spec))
    clip = str(make_clip(tmp_path / "clip.mp4", frames=5))
    works = {
        door: work for door, work in doors(model, tmp_path, clip).items() if name != "search" or door not in ANSWERS
    }
    for door, work in list(works.items()):  # the same with the model that the memory names
        if "--model" in work and str(tmp_path / "memory") in work and door != "reembed":
            at = work.index("--model")
            works[f"{door}, by the memory"] = work[:at] + work[at + 2 :]
    (tmp_path / "stage.yaml").write_text(f"model: {model}\n")
    (tmp_path / "home.yaml").write_text(f"model: {model}\n")
    if name != "search":
        works["train"] = ["train", str(tmp_path / "stage.yaml"), "--out", str(tmp_path / "out")]
    works["replay, by the memory"] = [
        "replay", clip, "--memory", str(tmp_path / "memory"), "--camera", "hall", "--start", "2026-01-01T00:00"
    ]  # fmt: skip
    works["watch with another index"] = [
        "watch", "rtsp://127.0.0.1:9/x", "--memory", str(tmp_path / "new"), "--model", "tiny", "--index-encoder", "own/i"
    ]  # fmt: skip
    works["serve"] = ["serve", "--memory", str(tmp_path / "memory"), "--port", "0"]
    works["serve, by its configuration"] = [
        "serve",
        str(tmp_path / "home.yaml"),
        "--memory",
        str(tmp_path / "n2"),
        "--port",
        "0",
    ]
    assert commands_with_weights() <= {
        door.partition(" --")[0].partition(",")[0] for door in doors("x", tmp_path, clip)
    }
    python = functions(model, tmp_path)
    if name == "search":
        del python["afterview.load_pretrained"]  # which is for models that answer
    all_of_them = [*works.values(), *python.values()]
    found = json.loads(in_empty_network("-c", PROGRAM, json.dumps(all_of_them), cache=tmp_path / "hub"))
    for call, (status, said, *_) in zip(python, found[len(works) :], strict=True):
        assert status == 1, (call, said)
        said = "\n".join(line for line in said.splitlines() if " note: " not in line)  # before torch is loaded
        assert re.match(r"(HubUnreachable|NotPulled): .*`afterview models pull \S+` fetches", said), (call, said)
    wrong = []
    for door, (status, said, printed, cpu_s, torch, asked) in zip(works, found[: len(works)], strict=True):
        errors = [line for line in said.splitlines() if not line.startswith("note: ")]
        name = "tiny --index-encoder own/i" if "own/i" in works[door] else wanted
        told = status == 1 and len(errors) == 1 and f"`afterview models pull {name}` fetches" in errors[0]
        if "--json" in works[door]:
            told = told and json.loads(printed)["error"]["kind"] == "not_pulled"
        if not told or torch or asked or cpu_s > 1.0:
            wrong.append((door, status, said, f"{cpu_s:.2f} s", torch, asked))
    assert not wrong
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "bank").exists()


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.usefixtures("_namespaces")
def test_what_was_pulled_is_used_without_a_network(tmp_path: Path) -> None:
    """The built-in model from a hub of our own: pulled, then recorded with and searched in a namespace without any network."""
    from afterview.configs.loader import PRESETS

    tiny = PRESETS / "tiny"
    wanted = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    files = {name: (tiny / name).read_bytes() for name in (*wanted, "vision_tower/config.json")}
    index = {path.name: path.read_bytes() for path in (tiny / "index_encoder").iterdir()}
    cache, clip = tmp_path / "hub", str(make_clip(tmp_path / "clip.mp4", frames=25))
    with HubServer({"own/small": files, "google/siglip-base-patch16-224": index}).running() as hub:
        more = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url}
        program = "import sys; from afterview.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "models", "pull", "own/small", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**more), timeout=120)
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout)["fetched_bytes"] == sum(map(len, files.values())) + sum(map(len, index.values()))
    commands = [
        ["replay", clip, "--memory", str(tmp_path / "memory"), "--camera", "hall", "--model", "own/small", "--json"],
        ["search", "a red ring", "--memory", str(tmp_path / "memory"), "--json"],
        ["models", "check", "own/small", "--json"],
    ]
    found = json.loads(in_empty_network("-c", PROGRAM, json.dumps(commands), cache=cache))
    assert [status for status, *_ in found] == [0, 0, 0], found
    assert json.loads(found[0][2])["recorded"] > 0
    assert json.loads(found[2][2])["whole"]
    assert not [said for _, said, *_ in found if "hub" in said], "nothing was looked for"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a hub that takes connections and never answers
        more |= {"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        again = [[*command, "--camera", "yard"] if command[0] == "search" else command for command in commands]
        again[0] = [word.replace("hall", "yard") for word in commands[0]]
        command = [sys.executable, "-c", PROGRAM, json.dumps(again)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**more), timeout=120)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert [(status, asked) for status, *_, asked in found] == [(0, [])] * 3, "nobody was asked"
