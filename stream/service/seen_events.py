"""Events as somebody may know them."""

from dataclasses import replace

from afterview.stream.service.config import require_name
from afterview.stream.service.events import Event, See
from afterview.stream.service.people.access import Access


def seen_by(access: Access) -> See | None:
    """What a listener may know of each event; None: everything."""
    if access.admin and access.cameras is None:
        return None

    def see(event: Event) -> Event | None:
        data = dict(event.data)
        kind, about = event.about
        if kind in ("camera", "job") and not access.sees(about):
            return None
        if kind == "answer" and not (data.get("user") == access.user and all(map(access.sees, data["cameras"]))):
            return None
        if kind == "configuration":
            data["cameras"] = {name: how for name, how in data["cameras"].items() if access.sees(require_name(name))}
            if not data["cameras"]:
                return None
        if kind == "model":
            data["detail"] = ""  # it may name any camera
        return replace(event, number=event.stamp, data=data)

    return see
