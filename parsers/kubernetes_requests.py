"""What a request to a Kubernetes API server holds: a command in its query, an object in its body, without secrets.

Objects are kept as they are but for what is secret: of a Secret every value, of a token request the token, of both
what `kubectl apply` copies into an annotation, and of containers the values of variables. A secret is told by its kind,
or by what the request is about.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NewType

import msgspec
import orjson

from parsers.canonical import encode
from parsers.flattened import DEPTH_LIMIT, KEY_LIMIT, flattened
from parsers.kubernetes_audit import NOTHING

REDACTED: Final = "[redacted]"
"""Stands for a value that no document holds."""

FIELDS_LIMIT: Final = 10_000
"""Parts of a query that are told apart; what stands behind them is one."""

NUL: Final = b"\\u0000"
"""How JSON writes the one character that no key of a flattened field may hold."""

NESTED_LIMIT: Final = 64
"""How deep secrets are looked for; what is deeper is one text in a document."""

_SECRET_MAPS: Final = ("data", "stringData")
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_SECRET_KINDS: Final = frozenset({"Secret", "SecretList", "TokenRequest", "TokenReview"})
_FALSE: Final = ("0", "false")
_escape = re.compile(rb"%([0-9a-fA-F]{2})")
_WEBHOOKS: Final = ("patch.webhook.admission.k8s.io/", "mutation.webhook.admission.k8s.io/")
"""What annotations are called, up to here, that say what an admission webhook changed."""

_VARIABLES: Final = "env"
_MARKED: Final = frozenset({_VARIABLES, _APPLIED, "path"})
"""Members of objects that may hold what is secret, or say that another does."""

_NESTED: Final = frozenset({dict, list})
_OF_VARIABLES = re.compile(r"/env(/|$)")
_ENV: Final = b'"env"'
_MAY_HOLD: Final = (b'"Secret"', b'"SecretList"', b'"TokenRe', b"/env", b"\\")
"""What an object holds that may be one of these kinds, or a patch of variables: it may be written with escapes as well.
Beside these only `env` holds what is secret."""


def _levels(count: int) -> Any:
    """Return the type of an object of at most so many levels, each with keys and numbers that Elasticsearch takes."""
    key = Annotated[str, msgspec.Meta(max_length=KEY_LIMIT)]
    number = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    # A name of its own for each level: a union hashes all that it is made of, each level twice, which took seconds.
    named: Callable[[str, Any], Any] = NewType
    inner: Any = str | number | float | bool | None
    for level in range(count - 1):
        inner = named(f"Level{level}", str | number | float | bool | dict[key, inner] | list[inner] | None)
    return dict[key, inner]


_decode_plain: Final[Callable[[bytes], dict[str, Any]]] = msgspec.json.Decoder(_levels(DEPTH_LIMIT)).decode


class Command(msgspec.Struct, frozen=True):
    """What the query of exec, attach, log and their like says: `words` of exec, the container, and streams."""

    words: tuple[str, ...]
    container: str
    tty: bool
    stdin: bool


def command_of(query: str) -> Command:
    """Read a query as the API server does: `command` once for each word, `+` a space, a flag without value is true."""
    parts = query.split("&", FIELDS_LIMIT)
    pairs = [(_decoded(name), _decoded(value)) for name, _, value in (part.partition("=") for part in parts if part)]
    words = tuple(value for name, value in pairs if name == "command")
    first = dict(reversed(pairs))
    return Command(words, first.get("container", ""), _flag(first, "tty"), _flag(first, "stdin"))


def _decoded(text: str) -> str:
    """Return a part of a query as it was meant (RFC 3986 section 2.1; `+` is a space); what is no escape stays."""
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    decoded = _escape.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())
    return decoded.decode("utf-8", "replace")


def _flag(said: dict[str, str], name: str) -> bool:
    return name in said and said[name].lower() not in _FALSE


def body_of(raw: msgspec.Raw, *, is_secret: bool) -> dict[str, Any] | None:
    """Return a request's or response's object as a flattened field takes it; None where there is none.

    What is no object comes under a name: a patch is a list, options may be anything.
    """
    content = bytes(raw)
    if content in NOTHING:
        return None
    found = _plain(content)
    is_plain = found is not None
    if found is None:
        try:
            found = orjson.loads(content)
        except (ValueError, RecursionError):
            # Decoded once already, but for a text of half a surrogate pair or such deep nesting.
            return {"unreadable": content.decode("utf-8", "replace") if not is_secret else REDACTED}
    if is_secret or any(mark in content for mark in _MAY_HOLD) or not _hide_variables(found, content.count(_ENV)):
        hide_secrets(found, is_secret=is_secret)
    if is_plain and isinstance(found, dict):
        return found
    return flattened(found if isinstance(found, dict) else {"patch" if isinstance(found, list) else "value": found})


def _plain(content: bytes) -> dict[str, Any] | None:
    """Decode an object that a flattened field takes as it is: of few levels, with short keys; None for any other."""
    if NUL in content:
        return None
    try:
        return _decode_plain(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _hide_variables(found: Any, count: int) -> bool:
    """Hide the values of variables of a pod's containers; tell whether these are all that are written so often.

    Where all are found in their place, nobody has to look through the whole of a pod.
    """
    for container in containers_of(pod_spec(found)) if count and isinstance(found, dict) else ():
        variables = container.get(_VARIABLES)
        if isinstance(variables, list):
            count -= 1
            _hide_values(variables)
    return count == 0


def _hide_values(variables: list[Any]) -> bool:
    """Hide the values of variables; where another object holds one, its name stays."""
    changed = False
    for variable in variables:
        if isinstance(variable, dict) and "value" in variable:
            variable["value"] = REDACTED
            changed = True
    return changed


def hide_secrets(value: Any, *, is_secret: bool = False, depth: int = 0) -> bool:
    """Put REDACTED in the place of what is secret, within what was decoded; tell whether there was any.

    `is_secret`: the whole is a Secret's or a token's. In place, for copies took a fifth of the time of audit events.
    """
    if type(value) is list:
        if depth >= NESTED_LIMIT:
            value[:] = [REDACTED] * len(value)
            return bool(value)
        found = [hide_secrets(each, is_secret=is_secret, depth=depth + 1) for each in value if type(each) in _NESTED]
        return True in found
    if type(value) is not dict:
        return False
    secret = is_secret or _is_secret_kind(value)
    changed = (secret or not _MARKED.isdisjoint(value)) and _hide_members(value, secret=secret, depth=depth)
    for name, item in value.items():
        if type(item) is dict or type(item) is list:
            if depth >= NESTED_LIMIT:
                value[name] = REDACTED
                changed = True
            elif hide_secrets(item, is_secret=secret, depth=depth + 1):
                changed = True
    return changed


def _hide_members(value: dict[str, Any], *, secret: bool, depth: int) -> bool:
    """Do so with the members of an object that are secret themselves."""
    changed = False
    path = value.get("path")
    for name, item in value.items():
        if secret and name in _SECRET_MAPS:
            value[name] = dict.fromkeys(item, REDACTED) if isinstance(item, dict) else REDACTED
        elif (secret and name in ("token", _APPLIED)) or (name == "value" and _is_secret_step(path, secret=secret)):
            value[name] = REDACTED
        elif name == _VARIABLES and isinstance(item, list):
            changed |= _hide_values(item)
            continue
        elif name == _APPLIED and isinstance(item, str):
            value[name] = _text_without_secrets(item, depth=depth + 1)
            changed |= value[name] != item
            continue
        else:
            continue
        changed = True
    return changed


def _is_secret_step(path: Any, *, secret: bool) -> bool:
    """Tell whether a JSON patch's step to this path has a secret as its value."""
    return path is not None if secret else isinstance(path, str) and _OF_VARIABLES.search(path) is not None


def _is_secret_kind(value: dict[str, Any]) -> bool:
    kind = value.get("kind")
    return type(kind) is str and kind in _SECRET_KINDS


def annotations_without_secrets(
    given: dict[str, str], bodies: list[dict[str, Any] | None], *, is_secret: bool
) -> dict[str, str]:
    """Return an event's annotations; what webhooks changed of a secret is not told. `bodies` are its objects."""
    changed = {name: text for name, text in given.items() if name.startswith(_WEBHOOKS)}
    if not changed:
        return given
    hidden = is_secret or _holds_secret(bodies)
    return given | {name: REDACTED if hidden else _text_without_secrets(text) for name, text in changed.items()}


def _holds_secret(value: Any, depth: int = 0) -> bool:
    """Tell whether an object is one of the kinds that hold secrets, or has one within; too deep counts as one."""
    if depth > NESTED_LIMIT:
        return True
    if isinstance(value, list):
        return any(_holds_secret(each, depth + 1) for each in value)
    if not isinstance(value, dict):
        return False
    return _is_secret_kind(value) or any(_holds_secret(each, depth + 1) for each in value.values())


def _text_without_secrets(text: str, *, depth: int = 0) -> str:
    """Return a text that is an object of JSON without what is secret; what cannot be read is not shown."""
    if depth > NESTED_LIMIT:
        return REDACTED
    try:
        found = orjson.loads(text)
    except (ValueError, RecursionError):
        return REDACTED
    return encode(found).decode() if hide_secrets(found, depth=depth) else text


def pod_spec(body: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of the pods that an object is about, or makes: empty where there is none."""
    spec = body.get("spec")
    for _ in range(2):
        if not isinstance(spec, dict):
            return {}
        template = spec.get("jobTemplate") or spec.get("template")
        if not isinstance(template, dict):
            break
        spec = template.get("spec")
    return spec if isinstance(spec, dict) else {}


def containers_of(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all containers of a pod's specification."""
    for name in ("containers", "initContainers", "ephemeralContainers"):
        for each in spec.get(name) or () if isinstance(spec.get(name), list) else ():
            if isinstance(each, dict):
                yield each


def is_privileged(spec: dict[str, Any]) -> bool:
    """Tell whether one of its containers is."""
    contexts = (each.get("securityContext") for each in containers_of(spec))
    return any(isinstance(context, dict) and context.get("privileged") is True for context in contexts)


def shares_host(spec: dict[str, Any]) -> bool:
    """Tell whether a pod has its node's network, processes or memory."""
    return any(spec.get(name) is True for name in ("hostNetwork", "hostPID", "hostIPC"))
