"""`afterview mcp` as an assistant starts it: a child process of the SDK's client."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from afterview.cli.main import main
from afterview.memory.format.answer_files import saved_directories
from afterview.stream.service.mcp.forward import forward, service_at
from tests.stream.service.mcp.conftest import ERAS, text_of
from tests.support.held_model import HeldModel
from tests.support.processes import ROOT, environment
from tests.support.service import ServiceHere, record_camera

QUESTION = {"question": "Did you see a red ring?", "cameras": ["yard"]}
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def memory(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("memory")
    record_camera(made, "yard", tiny, 70)
    record_camera(made, "hall", tiny, 5)
    return made


def with_process(work: Any, mode: str, log: Path, *arguments: str | Path, **variables: str) -> Any:
    """What `work` returns, given a client of `afterview mcp`."""

    async def main() -> Any:
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "afterview", "mcp", *map(str, arguments)], cwd=str(ROOT),
            env=environment(**variables),
        )  # fmt: skip
        with log.open("w") as errors:
            async with Client(stdio_client(command, errlog=errors), mode=mode) as client:
                return await asyncio.wait_for(work(client), 100)

    found = asyncio.run(main())
    assert "Traceback" not in log.read_text()
    return found


@pytest.mark.slow
def test_a_memory_without_a_service(memory: Path, tiny: Any, tmp_path: Path) -> None:
    async def work(client: Client) -> Any:
        cameras = await client.call_tool("cameras", {})
        picture = await client.call_tool("frame", {"camera": "yard", "picture": True})
        result = await client.call_tool("ask", QUESTION)
        while result.structured_content["status"] == "waiting":  # the model is being loaded
            result = await client.call_tool("answer_status", {"handle": result.structured_content["handle"]})
        wrong = await client.call_tool("frame", {"camera": "yard", "number": 3})
        return cameras, picture, result, wrong

    cameras, picture, result, wrong = with_process(work, "auto", tmp_path / "log", "--memory", memory)
    assert [one["camera"] for one in cameras.structured_content["cameras"]] == ["hall", "yard"]
    assert [one.type for one in picture.content] == ["text", "image"]
    assert [one.type for one in result.content] == ["text"]
    assert wrong.is_error
    assert "number: unknown argument" in text_of(wrong)
    with ServiceHere(memory, tiny) as service:
        api = service.json("POST", "/ask", QUESTION)
    assert result.structured_content["answer"] == api["answer"]
    assert [one["frame"] for one in result.structured_content["evidence"]] == [one["frame"] for one in api["evidence"]]
    assert not (memory / ".cameras.json").exists()


def test_a_memory_with_a_service_is_asked_there_and_a_cancelled_call_ends_there(
    memory: Path, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    held = HeldModel(monkeypatch)

    async def work(client: Client) -> Any:
        asking = asyncio.ensure_future(client.call_tool("ask", QUESTION))
        while not held.asked:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait({asking})
        while not held.cancelled:
            await asyncio.sleep(0.01)
        held.go.set()
        assert client.session.protocol_version == ERAS["stateless" if mode == "auto" else "handshake"]
        return await client.call_tool("ask", QUESTION)

    with ServiceHere(memory, tiny) as service:
        result = with_process(work, mode, tmp_path / "log", "--memory", memory)
        api = service.json("POST", "/ask", QUESTION)
        assert result.structured_content["evidence"][0]["image"] == service.url + api["evidence"][0]["image"]
        assert result.structured_content["answer"] == api["answer"]
    assert result.structured_content["id"] in [one.id for one in saved_directories(memory)]


def test_a_service_by_its_address_and_token(memory: Path, tiny: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)

    async def work(client: Client) -> Any:
        there = await client.call_tool("cameras", {})
        await asyncio.to_thread(service.stop)
        return there, await client.call_tool("cameras", {})

    with ServiceHere(memory, tiny, http={"token_file": str(token)}, wait=False) as service:
        url = service.url
        there, gone = with_process(
            work, "auto", tmp_path / "log", "--service", f"{url}/", AFTERVIEW_TOKEN_FILE=str(token)
        )
    assert len(there.structured_content["cameras"]) == 2
    assert gone.is_error
    assert (
        text_of(gone) == f"the service at {url} does not answer; start it with `afterview serve`, or correct --service"
    )


async def test_a_service_that_refuses_is_quoted_with_the_remedy(memory: Path, tiny: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with ServiceHere(memory, tiny, http={"token_file": str(token)}, wait=False) as service:
        refused = await forward(service_at(service.url, "wrong-horse-battery-staple"), "test", "cameras", {})
        assert text_of(refused) == (
            f"the service at {service.url} needs its token; put its token into the variable AFTERVIEW_TOKEN, or the name of a file with it "
            "into AFTERVIEW_TOKEN_FILE"
        )
        unknown = await forward(service_at(service.url, TOKEN), "test", "nothing", {})
        assert "answered: unknown tool 'nothing'" in text_of(unknown)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> str:
        assert main(["mcp", *arguments]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        return errors

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--service", "nvr.home"), "give its address, such as http://127.0.0.1:8077"),
        (("--service", "http://h/api/v1"), "give its address, such as http://127.0.0.1:8077"),
        (("--service", "http://anna:secret@h:1"), "leave the user out"),
        (("--service", "http://h:1", "--memory", "m"), "give one of them"),
        (("--memory", "nowhere"), "nowhere"),
    ],
)
def test_wrong_arguments_are_one_clear_line(refusal: Any, arguments: tuple[str, ...], said: str) -> None:
    errors = refusal(*arguments)
    assert said in errors
    assert "secret" not in errors


def test_ctrl_c_ends_it_while_nobody_writes(memory: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "afterview", "mcp", "--memory", str(memory)], cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    process.stdin.flush()
    assert '"id":1' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr is not None
    errors = process.stderr.read()
    assert "Traceback" not in errors
    assert "Fatal" not in errors
    process.communicate()
