"""Arguments of the command for shells. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_command


def add_completion_command(commands: Commands) -> None:
    """completion."""
    parser = add_command(
        commands, "completion", "print the script that completes commands on TAB",
        "It completes commands, options, files and\nthe cameras of the memory, without starting Python.\n\n"
        "bash, for all new shells:\n"
        "  mkdir -p ~/.local/share/bash-completion/completions\n"
        "  afterview completion bash > ~/.local/share/bash-completion/completions/afterview\n\n"
        "zsh, with a directory of your own in $fpath:\n  afterview completion zsh > ~/.zfunc/_afterview",
    )  # fmt: skip
    parser.add_argument("shell", choices=("bash", "zsh"), help="bash or zsh")
