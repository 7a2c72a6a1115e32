"""Removes credentials from addresses and from any text that may quote one. In doubt it hides too much.

Hidden: `user:password@` of a URL (also when the password holds unescaped `/`, `@` or `?`), the values of query keys that name a
secret (`token=`, `password=`, `sig=` ...), in URLs and in free text, and the values of variables in addresses (`hide_values`).
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST_VALUE = 4  # characters; a shorter one occurs in too many words to be cut out of them

_values: set[str] = set()  # of variables, for the whole process; it only grows

# A key is secret when its name holds one of these, ...
_SECRET_PARTS = "token|passw|pwd|secret|auth|signature|credential|session|policy|hdn(?:ea|ts|tl)"
# ... or ends in one of these (`key` and `apikey`, but not `keyframe`).
_SECRET_ENDS = "key|keyid|key-pair-id|pass|sig|hmac|jwt|user|username|login|usr"
_USER_KEY = re.compile(r"(?:user|username|login|usr)$", re.IGNORECASE)
_SECRET_KEY = re.compile(rf"(?:{_SECRET_PARTS})|(?:{_SECRET_ENDS})$", re.IGNORECASE)

# The patterns take a time in proportion to the text, which may come from a server that means harm: no start is tried inside a word, and
# of a scheme only its end is looked for.
_URL = re.compile(r"(?P<scheme>(?<=[\w+.-]):/{1,2})(?P<rest>[^\s\"'<>]+)")
_PAIR = re.compile(r"(?<![\w.%-])(?P<key>[\w.%-]+)=(?P<value>[^\s&;\"'<>#]+)")
# For a text that is one address as a whole: only its own syntax ends a part, since passwords may contain blanks and quotes.
_ADDRESS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*:/{1,2})?(?P<rest>.*)", re.DOTALL)
_ADDRESS_PAIR = re.compile(r"(?<![\w.%-])(?P<key>[\w.%-]+)=(?P<value>[^&;#]+)")


def redact(text: str) -> str:
    """`text` with every credential replaced by `***`."""
    return _PAIR.sub(_hide_pair, _URL.sub(_hide_userinfo, redact_values(text)))


def printable(text: str) -> str:
    """`text` in one line that every terminal can print: names of files may hold line ends, control characters, and bytes of no letter."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def hide_values(values: Iterable[str]) -> None:
    """From now on, `redact` and `redact_values` hide these texts wherever they occur."""
    _values.update(value for value in values if len(value) >= SHORTEST_VALUE)


def redact_values(text: str) -> str:
    """`text` with the values of variables hidden, and nothing else: for text that may be anything, such as a line of the log."""
    for value in sorted(_values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def shows_password(text: str) -> bool:
    """Whether an address holds a password or a token. A user name alone is none."""
    match = _ADDRESS.fullmatch(text)
    rest = match["rest"] if match else text
    end = userinfo_end(rest)
    if end is not None and rest[:end].partition(":")[2]:
        return True
    pairs = (pair for pair in _ADDRESS_PAIR.finditer(rest) if not _USER_KEY.search(unquote(pair["key"])))
    return any(_hide_pair(pair) != pair[0] for pair in pairs)


def redact_address(text: str) -> str:
    """A text that is one address, however malformed, without its credentials.

    Without a scheme (`user:password@host/path`), a colon before an `@` is taken for credentials.
    """
    match = _ADDRESS.fullmatch(text)
    assert match is not None, "the pattern takes any text"
    scheme, rest = match["scheme"] or "", match["rest"]
    end = userinfo_end(rest)
    if end and (scheme or ":" in rest[:end]):
        rest = f"{HIDDEN}@{rest[end + 1 :]}"
    return redact(scheme + _ADDRESS_PAIR.sub(_hide_pair, rest))


def _hide_userinfo(match: re.Match[str]) -> str:
    rest = match["rest"]
    end = userinfo_end(rest)
    return match["scheme"] + (rest if not end else f"{HIDDEN}@{rest[end + 1 :]}")


def userinfo_end(rest: str) -> int | None:
    """The place of the `@` in `rest` (a URL after `scheme://`) that ends the credentials; None if there are none.

    By RFC 3986 they end at the last `@` before the first `/`, `?` or `#`. People paste passwords unescaped, so if the beginning could be
    `user:password`, the last `@` of all ends them, even if that hides the host of some address.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    may_hold_credentials = "@" in authority or ":" in authority
    return rest.rindex("@") if may_hold_credentials and "@" in rest else None


def _hide_pair(match: re.Match[str]) -> str:
    key, value = unquote(match["key"]), unquote(match["value"])
    nested_credentials = "://" in value and "@" in value
    return f"{match['key']}={HIDDEN}" if nested_credentials or _SECRET_KEY.search(key) else match[0]
