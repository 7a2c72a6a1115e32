"""The form of the address of a memory on an object store. Loads nothing: every command looks."""

SCHEME = "s3://"


def is_on_store(place: str) -> bool:
    """Whether a text names a memory on an object store, not a directory."""
    return place.lower().startswith(SCHEME)
