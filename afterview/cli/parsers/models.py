"""Arguments of `models` and `doctor`. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import (
    Commands,
    add_command,
    add_deletion,
    add_index_encoder,
    add_json,
    add_memory,
    add_verbosity,
)

_ABOUT = """\
Weights of models: what each preset needs and is good for, what is here, and how to get it.

A model lies in the cache of the Hugging Face hub (HF_HUB_CACHE, else ~/.cache/huggingface/hub), which other programs share.
After a pull nothing needs the network. HF_ENDPOINT names another hub, HF_TOKEN a token for models with restricted access.

examples:
  afterview models
  afterview models pull hour-llava-3b
  afterview models measure hour-llava-3b
"""
_NAME = "preset, preset file, or hub id (owner/name, or owner/name@revision)"


def add_models_command(commands: Commands) -> None:
    """`models` and its actions."""
    models = commands.add_parser("models", help="show, fetch, check and remove weights of models", description=_ABOUT)
    models.set_defaults(module="afterview.cli.commands.models")
    add_json(models)
    add_verbosity(models)
    actions = models.add_subparsers(dest="action", metavar="ACTION", help="default: list")
    listed = _action(
        actions, "list", "presets, with their sizes, what is here, and their speed as measured here",
        "Sizes are computed from the\npublished geometry until the model is here. Speeds are shown only if `models measure` found them on "
        "this machine.\n\nexamples:\n  afterview models\n  afterview models list --json\n  afterview models list mine.yaml",
    )  # fmt: skip
    listed.add_argument("name", nargs="?", metavar="NAME", help=f"only this one: {_NAME} (default: all presets)")
    pull = _action(
        actions, "pull", "fetch the weights of a model",
        "Shows what will be fetched, and asks at a terminal. An interrupted pull goes on\nwhere it stopped when it is run again. Every "
        "file is checked against the hub's checksum.\n\nexamples:\n  afterview models pull hour-llava-3b\n"
        "  afterview models pull owner/name@v2 --yes",
    )  # fmt: skip
    pull.add_argument("name", metavar="NAME", help=_NAME)
    pull.add_argument("--revision", metavar="REV", help="branch, tag or commit of the checkpoint (default: main)")
    add_index_encoder(pull)
    pull.add_argument("--yes", action="store_true", help="fetch without asking")
    pull.add_argument("--dry-run", action="store_true", help="only show what would be fetched")
    check = _action(
        actions, "check", "read every file of a model, and compare its checksum",
        "Needs no network. Exit status 1 if something is\nmissing or damaged; `models pull` fetches that anew.\n\n"
        "examples:\n  afterview models check hour-llava-3b",
    )  # fmt: skip
    check.add_argument("name", metavar="NAME", help=_NAME)
    remove = _action(
        actions, "remove", "delete the files of a model",
        "All revisions of it. What another preset that is here needs stays.\n\n"
        "examples:\n  afterview models remove hour-llava-7b --dry-run",
    )  # fmt: skip
    remove.add_argument("name", metavar="NAME", help=_NAME)
    add_deletion(remove)
    measure = _action(
        actions, "measure", "measure how fast this machine runs a preset, and keep the result",
        "Weights are not needed: random ones of the same\nshapes run, because speed does not depend on their values. Takes up to some "
        "minutes. Close other programs first.\n\nexamples:\n  afterview models measure hour-llava-3b",
    )  # fmt: skip
    measure.add_argument("name", metavar="PRESET", help="a shipped preset")
    measure.add_argument("--device", metavar="DEVICE", help="cpu or cuda (default: cuda if there is one)")


def add_doctor_command(commands: Commands) -> None:
    """`doctor`."""
    parser = add_command(
        commands, "doctor", "check this machine, the cameras of a configuration, and the memory",
        "One line each: ok, warning or problem,\nwith the remedy. Each check has a limit of time. Exit status 1 if there is a problem. "
        "With a configuration file of `serve`\nits cameras are connected to for a few seconds each.\n\n"
        "examples:\n  afterview doctor\n  afterview doctor home.yaml --json",
    )  # fmt: skip
    parser.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="configuration of the service (default: none)")
    add_memory(parser, instead="config")
    parser.add_argument(
        "--for", dest="seconds", default="4s", metavar="DURATION", help="how long each camera is watched (default: 4s)"
    )


def _action(actions: Commands, name: str, summary: str, more: str) -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary, more, module="models")
    for argument in parser._actions:
        if argument.dest in ("json", "verbose", "quiet"):
            argument.default = argparse.SUPPRESS  # or the action would undo `afterview models --json ACTION`
    return parser
