"""Optional parts of the installation, and what to type for one that is missing."""

from afterview.configs.errors import UsageError


def missing_extra(extra: str, what: str) -> UsageError:
    """The error for something that needs an extra that is not installed. what: "training", "object stores"."""
    return UsageError(
        f"{what}: a package of the extra '{extra}' is not installed; in the checkout run: pip install '.[{extra}]' "
        f"(elsewhere: pip install 'afterview[{extra}] @ git+URL', with the address of the repository)"
    )
