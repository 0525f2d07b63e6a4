"""Secrets in what HTTP requests carry: they are taken out before anything is stored.

Sources: RFC 9110 (section 11.6.2, `Authorization`), RFC 6265 (cookies), RFC 3986 (section 3.2.1: passwords in URLs).
"""

import re
from typing import Any, Final

from parsers.kubernetes_requests import REDACTED

_SECRET: Final = re.compile(
    r"token|secret|passw|pwd|auth(?!ors?(?![a-z]))|cookie|api[-_]?key|access[-_]?key|credential|session|signature|jwt"
    r"|^(?:key|sig|sid|code|pass)$",
    re.IGNORECASE,
)
_ESCAPED: Final = re.compile(r"%([0-7][0-9A-Fa-f])")
_DELIMITER: Final = re.compile(r"([?&;#\s])")
_USER: Final = re.compile(r"//[^/?#\s@]*@")


def is_secret_name(name: str) -> bool:
    """Tell whether a header or a query's key of this name has a value that lets its reader in."""
    return _SECRET.search(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)) is not None


def url_without_secrets(text: str) -> str:
    """Return a URL, or a text in which some stand, with REDACTED for user and password and for values of secret names.

    A value ends where the next begins, or with the word.
    """
    parts = _DELIMITER.split(_USER.sub(f"//{REDACTED}@", text))
    for at in range(2, len(parts), 2):
        name, is_pair, value = parts[at].partition("=")
        if is_pair and value and is_secret_name(name):
            parts[at] = f"{name}={REDACTED}"
    return "".join(parts)


def header_without_secrets(header: Any) -> Any:
    """Return a header, an object of `key` and `value`, without a secret in its value."""
    if not isinstance(header, dict) or "value" not in header:
        return header
    name, value = header.get("key"), header["value"]
    if isinstance(name, str) and is_secret_name(name):
        return {**header, "value": REDACTED}
    return {**header, "value": url_without_secrets(value)} if isinstance(value, str) else header
