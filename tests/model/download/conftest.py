"""The fixtures `cache` and `hub`."""

from tests.support.hub_model import cache, hub

__all__ = ["cache", "hub"]
