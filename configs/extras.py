"""Optional dependencies (extras), and how to install a missing one."""

from afterview.configs.errors import UsageError


def missing_extra(extra: str, what: str) -> UsageError:
    """The error for a feature whose extra is not installed. what: the feature, such as "training" or "object stores"."""
    return UsageError(
        f"{what}: a package of the extra '{extra}' is not installed; in the checkout run: pip install '.[{extra}]' "
        f"(elsewhere: pip install 'afterview[{extra}] @ git+URL', with the address of the repository)"
    )
