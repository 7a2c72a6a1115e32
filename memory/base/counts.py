"""Numbers of things and bytes as people read them."""


def counted(number: int, thing: str) -> str:
    """`1 frame`, `2 frames`, `0 frames`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def were(number: int) -> str:
    """The verb for so many things: `was` for one, otherwise `were`."""
    return "was" if number == 1 else "were"


def percent(share: float) -> str:
    """A share of 0 to 1: `43%`, `4.3%`."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def spell_bytes(number: float) -> str:
    """`454 kB`, `11.4 MB`, `3.18 GB`, `2400 GB`; decimal units, as disks are sold."""
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.5:
            return f"{number:.3g} {unit}"
    return f"{number:.0f} GB"
