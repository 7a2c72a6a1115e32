"""Variables in the address of a source: `{AFTERVIEW_...}` stands for the value of that environment variable.

Other users of a machine see the command line of a process (`ps`), but not its environment. So a password in a variable stays private.

rtsp://admin:{AFTERVIEW_CAM1_PASSWORD}@camera/stream   one part of an address: percent-encoded as that part needs it
{AFTERVIEW_CAM1_URL}, {AFTERVIEW_NVR}/Streaming/101     an address or its beginning: taken as it is
lavfi:movie={AFTERVIEW_CLIP}                            anything else than a URL: taken as it is
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from afterview.stream.errors import BadUrl
from afterview.stream.source.address.redact import hide_values, userinfo_end

PREFIX = "AFTERVIEW_"
_VARIABLE = re.compile(rf"\{{({PREFIX}\w+)\}}", re.ASCII)
_OTHER = re.compile(r"\{[A-Z][A-Z0-9_]*\}")  # as shells name their variables
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def fill_variables(text: str, environment: Mapping[str, str]) -> str:
    """`text` with the values of its variables, which from now on are hidden in every text that `redact` sees.

    Raises BadUrl for a variable that is not set or empty, and for one of another name.
    """
    first = _VARIABLE.match(text)
    begin = _value(first[1], environment) if first else ""
    rest = text[first.end() :] if first else text
    if not _URL.match(begin + rest):
        return begin + _VARIABLE.sub(lambda match: _value(match[1], environment), rest)
    if _OTHER.search(_VARIABLE.sub("", rest)):
        raise BadUrl(
            "the source has a variable of another name; only names that begin with AFTERVIEW_ are replaced, such as "
            "{AFTERVIEW_CAM1_PASSWORD} (write %7B for a { that is no variable)"
        )
    filled, end = begin, 0
    for match in _VARIABLE.finditer(rest):
        filled += rest[end : match.start()]
        safe = _safe_at(begin + rest, len(begin) + match.start())
        encoded = quote(_value(match[1], environment), safe=safe, errors="surrogateescape")
        hide_values([encoded])
        filled, end = filled + encoded, match.end()
    return filled + rest[end:]


def without_variables(text: str) -> str:
    """`text` with every variable cut out."""
    return _VARIABLE.sub("", text)


def _value(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if not value:
        state = "empty" if name in environment else "not set"
        raise BadUrl(f"the source needs the environment variable {name}, which is {state}; set it: export {name}=...")
    hide_values([value, *_credentials(value)])
    return value


def _credentials(value: str) -> list[str]:
    """User and password of a value that is a URL, as they stand there and decoded."""
    match = _URL.match(value)
    end = userinfo_end(value[match.end() :]) if match else None
    if match is None or end is None:
        return []
    parts = value[match.end() :][:end].split(":", 1)
    return [*parts, *map(unquote, parts)]


def _safe_at(text: str, position: int) -> str:
    """Which special characters a value may have at this position of a URL: '@', ':' and '/' in a password would end it."""
    match = _URL.match(text)
    begin = match.end() if match else 0
    credentials_end = userinfo_end(text[begin:])
    if credentials_end is not None and position < begin + credentials_end:
        return ""
    before = text[begin + (0 if credentials_end is None else credentials_end + 1) : position]
    if "?" in before or "#" in before:
        return ""
    return "/" if "/" in before else ":[]"  # of a path; of a host with its port
