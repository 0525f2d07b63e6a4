"""What the collector's own audit records say in one plain sentence: what happened, to whom, and why.

The sentence is made of the record's details, so records that stand in a journal already get it too. What a sender chose
(the name it claims) is quoted as JSON, so that it cannot go on with the sentence.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Details = Mapping[str, Any]


def sentence(who: str, action: str, details: Details) -> str:
    """Return the sentence of a record that `who`, an internal producer, appended; of an unknown action its name."""
    says = _SENTENCES.get(action)
    return says(details) if says is not None else f"{who}: {action}"


def _start(details: Details) -> str:
    inputs = details.get("inputs")
    named = ", ".join(map(str, inputs)) if isinstance(inputs, list) and inputs else "none"
    return f"The collector started: version {_value(details, 'version')}, inputs: {named}"


def _stop(details: Details) -> str:
    return f"The collector was told to stop after {_value(details, 'ran_seconds')} s"


def _key_export(details: Details) -> str:
    return (
        f"The key that verifies the journal was written to evidence/{_value(details, 'file')}, "
        "since this is the journal's first start"
    )


def _handshake(details: Details) -> str:
    attempts = details.get("attempts")
    times = f" {attempts} times" if isinstance(attempts, int) and attempts > 1 else ""
    claimed = details.get("claimed")
    name = f", claiming to be {json.dumps(claimed, ensure_ascii=False)}" if claimed else ""
    return (
        f"{_value(details, 'peer')} failed{times} to prove who it is to input {_value(details, 'input')}{name}: "
        f"{_value(details, 'reason')}"
    )


def _block(details: Details) -> str:
    return (
        f"{_value(details, 'peer')} is not listened to by input {_value(details, 'input')} for "
        f"{_value(details, 'seconds')} s, since {_value(details, 'failures')} of its handshakes failed within a minute"
    )


def _forget(details: Details) -> str:
    left = f"{_value(details, 'records')} records" if "records" in details else "records"
    return (
        f"Output {_value(details, 'output')} was let go of by tidewaiter journal forget: "
        f"{left} that it had not settled will not reach it"
    )


def _verify(details: Details) -> str:
    looked = f"{_value(details, 'segments')} segments, {_value(details, 'frames')} frames"
    if not details.get("findings"):
        return f"The journal was verified with its key: {looked}, all as it was written"
    return (
        f"The journal was verified with its key, and is NOT as it was written: {looked}, "
        f"{_value(details, 'findings')} findings, the first: {_value(details, 'first_finding')}"
    )


def _reload(details: Details) -> str:
    problems = details.get("problems")
    if isinstance(problems, list) and problems:
        named = ", ".join(map(str, problems))
        return f"A reload of the configuration was refused, and the one before holds: problems at {named}"
    changes = details.get("changes")
    named = ", ".join(map(str, changes)) if isinstance(changes, list) and changes else "nothing in it changed"
    return f"The configuration was reloaded: {named}"


def _replay(details: Details) -> str:
    outputs = details.get("outputs")
    named = ", ".join(map(str, outputs)) if isinstance(outputs, list) and outputs else "none"
    stay = sum(count for name in ("refused", "waiting", "unsent") if isinstance(count := details.get(name), int))
    return (
        f"Dead letters were replayed to {named} by tidewaiter dead-letters replay (user {_value(details, 'uid')}): "
        f"{_value(details, 'stored')} stored, {stay} stay"
    )


def _condemn(details: Details) -> str:
    records, messages = details.get("records"), details.get("messages")
    told = ((messages, "message"), (records, "record"))
    what = " and ".join(f"{count} {noun}{'s' if count != 1 else ''}" for count, noun in told if count)
    whose = f" of {_value(details, 'peer')} by input {_value(details, 'input')}" if "peer" in details else ""
    does = {
        "crash": "the worker ends with it",
        "hang": "the worker does not come to an end with it",
        "memory": "the worker's memory does not suffice for it",
    }.get(str(details.get("cause")), "the worker cannot take it")
    return f"{what or 'A record'}{whose} went into the dead letters unread, since {does}: {_value(details, 'ending')}"


def _value(details: Details, name: str) -> str:
    return str(details.get(name, "?"))


_SENTENCES: Final[Mapping[str, Callable[[Details], str]]] = {
    "start": _start,
    "stop": _stop,
    "key_export": _key_export,
    "handshake": _handshake,
    "block": _block,
    "forget": _forget,
    "verify": _verify,
    "reload": _reload,
    "replay": _replay,
    "condemn": _condemn,
}
