"""Shared by all tests. On CI no integration test may be skipped: AFTERVIEW_REQUIRE_INTEGRATION=1 turns such a skip into a failure."""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from afterview.training.tiny.stories import Shelf
    from tests.support.object_server import Gate, ObjectServer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub
# For the programs that tests start: threads of several processes that wait actively on two cores cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.pop("AFTERVIEW_MEMORY", None)  # no test may work on the memory of whoever runs it

BARE_NAMES = {"configs", "memory", "model", "stream", "training"}


class _NoBareNames(MetaPathFinder):
    """Refuses the folders under their bare names, by which the repository's root offers every module a second time."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name in BARE_NAMES:
            raise ImportError(f"import afterview.{name}, not {name}: a second module object of everything in it")


assert not BARE_NAMES & sys.modules.keys(), "a folder was imported under its bare name before the tests began"
sys.meta_path.insert(0, _NoBareNames())

SHARED_VIDEOS = Path(__file__).parent.parent.parent / "shared" / "videos"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests run last: what is broken shows early."""
    items.sort(key=lambda item: any(map(item.get_closest_marker, ("slow", "thorough"))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    required = os.environ.get("AFTERVIEW_REQUIRE_INTEGRATION") == "1" and item.get_closest_marker("integration")
    if required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where it must run: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _interruptible() -> None:
    """SIGINT interrupts, here and in programs that a test starts: a shell's background ignores it, and event loops change it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_level() -> None:
    """A command that an earlier test, or a fixture, ran in this process has set the level."""
    logging.getLogger("afterview").setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small models are fastest on one thread, and two threads beside another job collapse."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(params=sorted(SHARED_VIDEOS.glob("*.mp4")) or [None], ids=lambda path: path.stem if path else "made")
def footage(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Real camera footage where this checkout has it beside it, one video after the other; else a clip of 15 s."""
    from tests.support.clips import make_clip

    return request.param or make_clip(tmp_path / "made.mp4", frames=150)


@pytest.fixture(scope="session")
def tokenizer() -> "PreTrainedTokenizerFast":
    """The synthetic world's words."""
    from afterview.training.tiny.words import train_tokenizer

    return train_tokenizer()


@pytest.fixture(scope="session")
def shelf() -> "Shelf":
    """A bank of the synthetic world as planned, without its pixels."""
    from afterview.training.tiny.bank import BankConfig, plan_bank
    from afterview.training.tiny.stories import shelf_of

    return shelf_of(plan_bank(BankConfig(seeds=120)))


@pytest.fixture(scope="session")
def _object_server() -> "Iterator[ObjectServer]":
    from tests.support.object_server import ObjectServer, need_object_store

    need_object_store()
    with ObjectServer() as running:
        yield running


@pytest.fixture
def server(_object_server: "ObjectServer", monkeypatch: pytest.MonkeyPatch) -> "ObjectServer":
    """A running S3 server with an empty bucket, and the keys for it in the environment."""
    from tests.support.object_server import KEYS

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    _object_server.remove(*_object_server.objects())
    return _object_server


@pytest.fixture
def gate(server: "ObjectServer") -> "Iterator[Gate]":
    """The way to that server, which can be shut."""
    from tests.support.object_server import gate_to

    with gate_to(server) as open_gate:
        yield open_gate
