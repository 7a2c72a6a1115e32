"""`afterview completion`: the script that completes commands, options, files and cameras on TAB. The script itself never starts Python."""

import argparse
from collections.abc import Iterator
from typing import Any

import shtab

from afterview.cli.main import build_parser
from afterview.cli.output.documents import dump
from afterview.configs import ExitStatus, preset_names

_CAMERAS, _MODELS = "_afterview_cameras", "_afterview_models"

# The memory as `afterview.cli.arguments.default_memory` chooses it; a camera's directory is its id.
_BASH = """\
_afterview_cameras() {
  local memory="" i file
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == --memory ]]; then
      memory="${COMP_WORDS[i + 1]}"
      [[ $memory == "=" ]] && memory="${COMP_WORDS[i + 2]}"
    fi
  done
  memory="${memory:-${AFTERVIEW_MEMORY:-${XDG_DATA_HOME:-$HOME/.local/share}/afterview/memory}}"
  for file in "${memory/#\\~/$HOME}"/*/camera.json; do
    [[ -e $file ]] && file="${file%/camera.json}" && compgen -W "${file##*/}" -- "$1"
  done
}
_afterview_models() {
  compgen -W "PRESETS" -- "$1"
  compgen -f -- "$1"
}
"""
_ZSH = """\
_afterview_cameras() {
  local memory i
  for ((i = 1; i < CURRENT; i++)); do
    [[ $words[i] == --memory ]] && memory=$words[i+1]
    [[ $words[i] == --memory=* ]] && memory=${words[i]#--memory=}
  done
  memory=${memory:-${AFTERVIEW_MEMORY:-${XDG_DATA_HOME:-$HOME/.local/share}/afterview/memory}}
  compadd -- ${~memory}/*/camera.json(N:h:t)
}
_afterview_models() {
  compadd -- PRESETS
  _files
}
"""


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    parser = build_parser()
    for action in _actions(parser):
        if (complete := _completed_by(action)) is not None:
            action.complete = complete  # type: ignore[attr-defined]
    functions = {"bash": _BASH, "zsh": _ZSH}[arguments.shell].replace("PRESETS", " ".join(preset_names()))
    script = shtab.complete(parser, arguments.shell, preamble=functions)
    if arguments.json:
        dump({"shell": arguments.shell, "script": script})
    else:
        print(script)
    return ExitStatus.OK


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of every command and of its actions."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)


def _completed_by(action: argparse.Action) -> Any:
    """What shtab completes an argument with; None for its choices, or nothing."""
    if action.dest in ("camera", "model"):
        function = _CAMERAS if action.dest == "camera" else _MODELS
        return {"bash": function, "zsh": function}
    if action.metavar == "DIR":
        return shtab.DIRECTORY
    return shtab.FILE if action.metavar in ("FILE", "SOURCE", "CONFIG", "CONFIG.yaml") else None
