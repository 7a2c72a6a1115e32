"""`afterview ask --recording FILE`: a question about a file itself, without a memory."""

import argparse
from pathlib import Path

from afterview.cli.arguments import require_model, require_question, seed
from afterview.cli.models import load_whole_model
from afterview.cli.output.documents import dump, printable
from afterview.cli.parsers.generation import generation_options
from afterview.cli.progress import announced
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted

_OF_A_MEMORY = {
    "camera": "--camera",
    "start": "--from",
    "last": "--last",
    "at": "--at",
    "sheet": "--sheet",
    "open": "--open",
    "answer_with": "--answer-with",
    "subtitles": "--subtitles",
}


def run(arguments: argparse.Namespace) -> int:
    """Answer one question about a file. Nothing is saved."""
    given = [option for name, option in _OF_A_MEMORY.items() if getattr(arguments, name)]
    if given:
        raise UsageError(f"{given[0]} is about a memory, and --recording asks a file itself; give one of the two")
    if not arguments.model:
        raise UsageError("--recording needs --model with a VideoChat-Flash, for example --model videochat-flash-2b")
    require_question("the question", arguments.question)
    require_model(arguments.model)
    chance, options = seed(arguments.seed), generation_options(arguments)
    path = Path(arguments.recording)
    if not path.is_file():
        raise UsageError(f"--recording {path}: no such file; name a video file")
    from afterview.stream.ask.recording import ask_recording  # late: it loads PyAV

    model = load_whole_model(arguments.model, arguments.index_encoder)
    with announced("answering"):
        settings = model.generation.changed(options)
        answer = ask_recording(path, arguments.question, model, seed=chance, settings=settings)
    if arguments.json:
        dump({"recording": str(path), "model": model.preset.reference, **answer.to_dict()})
    else:
        print(printable(answer.text) or "(the model said nothing)")
        print(
            f"\nseen: {counted(len(answer.indices), 'frame')} of {answer.seconds:g} s, as the published chat samples them"
        )
    return ExitStatus.OK
