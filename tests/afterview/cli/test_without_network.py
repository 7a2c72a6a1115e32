"""Without a network and without weights: every command that needs weights names the command that fetches them, at once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from afterview.memory.writing.open import open_camera
from tests.support.clips import make_clip
from tests.support.hub_server import HubServer
from tests.support.memory_world import make_frame, make_spec
from tests.support.processes import ROOT, environment

PROGRAM = """
import contextlib, io, json, sys, time
from afterview.cli.main import main
found = []
for arguments in json.loads(sys.argv[1]):
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    found.append([status, err.getvalue(), out.getvalue(), time.process_time() - began, "torch" in sys.modules])
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


@pytest.mark.integration
@pytest.mark.usefixtures("_namespaces")
def test_every_command_that_needs_weights_names_the_pull_within_a_second(tmp_path: Path) -> None:
    memory, spec = tmp_path / "memory", make_spec().model_copy(update={"model": "hour-llava-3b"})
    with open_camera(memory, "hall", spec) as repository:
        repository.append(make_frame(0, spec))
    clip = str(make_clip(tmp_path / "clip.mp4", frames=5))
    stage = tmp_path / "stage.yaml"
    stage.write_text("model: hour-llava-3b\n")
    config = tmp_path / "home.yaml"
    config.write_text("model: videochat-flash-2b\n")
    new, model = ["--memory", str(tmp_path / "new")], ["--model", "hour-llava-3b"]
    here = ["--memory", str(memory)]
    commands = [
        ["watch", "rtsp://127.0.0.1:9/x", *new, *model],
        ["replay", clip, *new, *model],
        ["replay", clip, *here, "--camera", "hall", "--start", "2026-01-01T00:00"],
        ["ask", "What happened?", *here],
        ["ask", "What happened?", *here, "--json"],
        ["ask", "What happened?", *here, *model],
        ["ask", "What happened?", "--recording", clip, *model],
        ["chat", *here],
        ["search", "a red car", *here],
        ["reembed", *here, *model],
        ["extract", clip, "--out", str(tmp_path / "bank"), *model],
        ["evaluate", "world", *model],
        ["train", str(stage), "--out", str(tmp_path / "out")],
        ["serve", *here, "--port", "0"],
        ["serve", str(config), *new, "--port", "0"],
        ["watch", "rtsp://127.0.0.1:9/x", *new, "--model", "tiny", "--index-encoder", "own/index"],
        ["replay", clip, *new, "--model", "search"],
    ]
    found = json.loads(in_empty_network("-c", PROGRAM, json.dumps(commands), cache=tmp_path / "hub"))
    for arguments, (status, said, printed, cpu_s, torch) in zip(commands, found, strict=True):
        name = "hour-llava-3b"
        if str(config) in arguments:
            name = "videochat-flash-2b"
        elif "own/index" in arguments:
            name = "tiny --index-encoder own/index"
        elif "search" in arguments[-1:]:
            name = "search"
        assert status == 1, (arguments, said)
        assert f"`afterview models pull {name}` fetches" in said, (arguments, said)
        assert not torch, arguments
        assert cpu_s < 1.0, (arguments, cpu_s)
        if "--json" in arguments:
            assert json.loads(printed)["error"]["kind"] == "not_pulled"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "bank").exists()


@pytest.mark.slow
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
