"""Names of hosts in the configuration. A whole address there would never fit any host, and nobody would be told."""

import ipaddress
from urllib.parse import urlsplit


def require_host(text: str, port: str = "") -> str:
    """The name or IP address of a host, as it was given. port: what is said if there is a port, such as "give the port as mqtt.port".

    Raises ValueError for anything else, with the name that was probably meant.
    """
    try:
        ipaddress.ip_address(text)
        return text
    except ValueError:
        if text and not set(text) & set("/:@[]?#* \t\n"):
            return text
    meant = _name_in(text)
    hint = f"; write {meant}" if meant else ""
    further = f", and {port}" if port and meant else ""
    raise ValueError(f"must be the name or address of a host alone, without scheme, port and path{hint}{further}")


def _name_in(text: str) -> str:
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
