"""Asking before something is deleted."""

import argparse
import sys
from collections.abc import Sequence

from afterview.configs import AfterviewError, UsageError


class Declined(AfterviewError):
    """The person at the terminal did not confirm."""


def confirm(lines: Sequence[str], arguments: argparse.Namespace) -> None:
    """Show on standard error what would be deleted, and return once that is confirmed: by --yes, or at the terminal.

    Raises UsageError where nobody can be asked, Declined if the answer is not yes.
    """
    if arguments.yes:
        return
    print("\n".join(lines), file=sys.stderr)
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was deleted: without a terminal to ask at, confirm with --yes"
            + (", or look with --dry-run" if hasattr(arguments, "dry_run") else "")
        )
    print("Delete? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Declined("nothing was deleted")
