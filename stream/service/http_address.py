"""Addresses to listen on, and how a request came."""

import ipaddress

OWN_SOCKET = "afterview.own_socket"  # a key of an ASGI scope: whether the request came by the socket in the memory


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches an address."""
    if bind.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False
