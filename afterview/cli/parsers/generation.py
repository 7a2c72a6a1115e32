"""Options of `ask` for how an answer is generated. Loads only argparse until `generation_options` checks what was given."""

import argparse
from typing import Any

_FIELDS = {  # option -> field of model.base.generation.GenerationSettings
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "max_tokens": "max_new_tokens",
    "stop": "stop",
}


def add_generation(parser: argparse.ArgumentParser) -> None:
    """Add --temperature, --top-p, --top-k, --repetition-penalty, --max-tokens, --stop and --seed."""
    group = parser.add_argument_group(
        "generation", "By default as generation_config.json of the model says; without one, greedy."
    )
    group.add_argument(
        "--temperature",
        type=float,
        metavar="N",
        help="draw tokens with this temperature; 0: always the most likely one",
    )
    group.add_argument(
        "--top-p",
        type=float,
        metavar="N",
        help="draw only from the most likely tokens with this share of the probability",
    )
    group.add_argument("--top-k", type=int, metavar="N", help="draw only from the N most likely tokens; 0: from all")
    group.add_argument(
        "--repetition-penalty", type=float, metavar="N", help="above 1: tokens that the answer already has become less likely"
    )  # fmt: skip
    group.add_argument("--max-tokens", type=int, metavar="N", help="end the answer after N tokens")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end the answer before this text (repeatable)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed from which tokens are drawn (default: 0)")
    parser._action_groups.sort(key=lambda one: one.title == "output")  # what every command has comes last


def generation_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given, as fields of a Question. Raises UsageError, which names the option, for a value that is out of range."""
    given = {field: getattr(arguments, option) for option, field in _FIELDS.items()}
    given["stop"] = tuple(given["stop"]) if given["stop"] else None
    if all(value is None for value in given.values()):
        return given
    from afterview.configs import UsageError  # late: `--help` and most questions need no schemas
    from afterview.model.base.generation import GenerationSettings

    for option, field in _FIELDS.items():
        try:
            GenerationSettings().changed({field: given[field]})
        except UsageError as error:
            reason = str(error).removeprefix(f"{field}: ")
            raise UsageError(f"--{option.replace('_', '-')}: {reason}") from None
    return given
