"""What commands say while they load a model, and how they import it."""

import gc
import importlib
import subprocess
import sys
import threading
import types

import pytest

from afterview.cli import models
from afterview.cli.imports import without_collection
from afterview.cli.logs import show_logs


@pytest.fixture
def slow_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes a while, as if torch came from a cold disk."""

    def load(name: str, **options: object) -> str:
        threading.Event().wait(0.2)
        return name

    module = types.SimpleNamespace(load_pretrained=load, load_encoders=load)
    monkeypatch.setitem(sys.modules, "afterview.model.checkpoint.loading", module)  # type: ignore[arg-type]
    monkeypatch.setattr(models, "QUESTION_FIRST_S", 0.02)


@pytest.mark.usefixtures("slow_model")
@pytest.mark.parametrize("load", [models.load_model, models.load_model_encoders])
@pytest.mark.parametrize(("as_json", "verbosity", "said"), [(False, 0, True), (True, 0, False), (False, -1, False)])
def test_a_question_says_soon_what_is_loaded(
    load: models.Announce, as_json: bool, verbosity: int, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show_logs(verbosity)
    load("tiny", announce=models.for_a_question(as_json=as_json))  # type: ignore[call-arg]
    out, err = capsys.readouterr()
    assert out == ""
    assert ("loading model tiny ... " in err) == said


@pytest.mark.usefixtures("slow_model")
def test_nothing_is_said_of_a_model_that_comes_quickly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "QUESTION_FIRST_S", 60.0)
    show_logs(0)
    models.load_model("tiny", announce=models.for_a_question(as_json=False))
    assert capsys.readouterr() == ("", "")


def test_the_collector_is_as_it_was_after_imports() -> None:
    frozen = gc.get_freeze_count()
    with pytest.raises(ModuleNotFoundError), without_collection(freeze=True):
        importlib.import_module("no_such_module" if not gc.isenabled() else "gc")
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_torch_made_is_kept_out_of_collections_of_a_command_only() -> None:
    program = (
        "import gc, sys, types\n"
        "from afterview.cli import models\n"
        "fake = types.SimpleNamespace(load_encoders=lambda name, **options: name)\n"
        "sys.modules['afterview.model.checkpoint.loading'] = fake\n"
        "if {loaded}: sys.modules['torch'] = types.ModuleType('torch')\n"
        "models.load_model_encoders('tiny')\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    for loaded in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", program.format(loaded=loaded)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["True", str(not loaded)]
