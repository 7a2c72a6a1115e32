"""Who asks, and what they may. Every door makes an Access from what its client shows, and hands it on; the service decides by it alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from afterview.stream.service.errors import Forbidden

OWNER, NOBODY = "owner", "nobody"  # no user can have these names


@dataclass(frozen=True)
class Access:
    """What one client may. user: as the audit names them. cameras: ids of those they may see; None: all, also those that come later.

    client: whose questions take turns with those of others, such as an address. door: http, openai, mcp, mqtt, socket. address, token: from
    where, and by which named token, for the audit.
    """

    user: str
    admin: bool = False
    cameras: frozenset[str] | None = frozenset()
    client: str = ""
    door: str = "http"
    address: str = ""
    token: str = ""

    @property
    def known(self) -> bool:
        """Whether somebody may come in at all."""
        return self.user != NOBODY

    @property
    def saved_as(self) -> str | None:
        """Whose a saved answer is: a command of this machine saves the same with and without the service."""
        return None if self.door == "socket" else self.user

    def sees(self, camera: str) -> bool:
        """Whether they may know of the camera with this id."""
        return self.cameras is None or camera in self.cameras

    def visible(self, cameras: Iterable[str]) -> list[str]:
        """Those of some ids that they may know of."""
        return [camera for camera in cameras if self.sees(camera)]

    def require_admin(self) -> None:
        """Raise Forbidden for everyone but admins."""
        if not self.admin:
            raise Forbidden(f"'{self.user}' may look and ask; this needs an admin")


def owner(client: str = "", door: str = "http") -> Access:
    """Who may everything: the holder of the service's token, or whoever reaches a service without one."""
    return Access(OWNER, admin=True, cameras=None, client=client, door=door, address=client)


def nobody(client: str = "", door: str = "http") -> Access:
    """Who has shown nothing that counts: they may ask whether the service is alive."""
    return Access(NOBODY, client=client, door=door, address=client)
