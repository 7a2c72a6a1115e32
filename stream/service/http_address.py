"""Addresses to listen on."""

import ipaddress


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches an address."""
    if bind.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False
