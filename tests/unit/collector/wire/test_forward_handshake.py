"""The handshake against the worked example of `forward.md` section 5, and against clients that lie."""

import hashlib
import sys
from types import FrameType

import msgpack
import pytest

from collector.wire.forward_handshake import PING_LIMIT_BYTES, Credentials, Handshake, Verdict

NONCE = bytes(range(16))
AUTH = bytes(range(16, 32))
SALT = bytes(range(0xF0, 0x100))
KEY_DIGEST = (
    "f6d1bb19583630cca3ea3b729bcd4dd70cc04129c274fa591bbbc932e22cc693"
    "5d3a64a39dc7d1fb1f2a8760a2cde2fbb11a1bec855372327353b73881edb636"
)
PASSWORD_DIGEST = (
    "cef17dab8e5e3a2cc7e2bc1c1934b9173adcd454c8a2d519bbadbb972df7f3c9"
    "6e1a1cf97a4351aee11fffb364e31dd2ba639625018c76d99dff188aa5c4dd4c"
)
PONG_DIGEST = (
    "bc24bf99e5bef425491fd6cc8b8664db8c633af19d7c2e0e6aa656d475fef03d"
    "97a71569cc1cac6293d229871929a6760cd17d9553d58474cc46b2831a2d1557"
)
BOTH = Credentials(shared_key=b"k3y", users={"alice": b"s3cret"})
KEY_ONLY = Credentials(shared_key=b"k3y")


def handshake(credentials: Credentials = BOTH) -> Handshake:
    """A handshake with the example's random bytes."""
    return Handshake(credentials, server_name="collector-1", nonce=NONCE, auth=AUTH)


def ping(
    key: bytes = b"k3y",
    *,
    client: bytes = b"client-1",
    user: bytes = b"alice",
    password: bytes = b"s3cret",
    salt: bytes = SALT,
    nonce: bytes = NONCE,
    auth: bytes = AUTH,
) -> bytes:
    """What a client sends that knows these."""
    digest = hashlib.sha512(salt + client + nonce + key).hexdigest()
    password_digest = hashlib.sha512(auth + user + password).hexdigest() if user else ""
    salt_as_text = bytes([0xA0 | len(salt)]) + salt  # as Fluent Bit packs it: str, and no UTF-8
    names = [msgpack.packb(each.decode()) for each in (b"PING", client)]
    rest = [msgpack.packb(each) for each in (digest, user.decode(), password_digest)]
    return b"".join((b"\x96", *names, salt_as_text, *rest))


def judged(sent: bytes, credentials: Credentials = BOTH) -> Verdict:
    """The verdict on a whole PING."""
    verdict = handshake(credentials).received(sent)
    assert verdict is not None
    return verdict


def test_the_worked_example() -> None:
    """HELO, PING and PONG byte for byte as the protocol page has them."""
    helo = bytes.fromhex(
        "92a448454c4f83a56e6f6e6365c410000102030405060708090a0b0c0d0e0f"
        "a461757468c410101112131415161718191a1b1c1d1e1fa96b656570616c697665c3"
    )
    sent = ping()

    verdict = judged(sent)

    assert handshake().helo == helo
    assert (KEY_DIGEST.encode() in sent, PASSWORD_DIGEST.encode() in sent, len(sent)) == (True, True, 298)
    assert msgpack.unpackb(verdict.pong) == ["PONG", True, "", "collector-1", PONG_DIGEST]
    assert verdict.proven == ("shared-key", "user:alice")
    assert len(verdict.pong) == 150


def test_cut_at_every_offset_and_with_data_behind_it() -> None:
    """However a PING arrives it gets its verdict once, and what follows it is handed on."""
    whole = ping() + b"\x93data"
    for cut in range(len(whole)):
        mine = handshake()
        verdict = mine.received(whole[:cut]) or mine.received(whole[cut:])
        assert verdict is not None
        assert verdict.proven
        assert verdict.rest + whole[len(whole[:cut]) if cut >= len(ping()) else len(whole) :] == b"\x93data"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (ping(b"wrong"), "shared_key mismatch"),
        (ping(nonce=bytes(16)), "shared_key mismatch"),
        (ping(password=b"wrong"), "username/password mismatch"),
        (ping(user=b"mallory"), "username/password mismatch"),
        (ping(user=b""), "username/password mismatch"),
        (ping(auth=bytes(16)), "username/password mismatch"),
        (ping(user=b"mallory", password=b"\0nobody"), "username/password mismatch"),
    ],
)
def test_who_does_not_know_is_refused(sent: bytes, reason: str) -> None:
    """A wrong key, a recorded handshake, a wrong or unknown user: the reason that clients know, and no digest."""
    verdict = judged(sent)

    assert msgpack.unpackb(verdict.pong) == ["PONG", False, reason, "", ""]
    assert (verdict.proven, bool(verdict.refused)) == ((), True)


def steps_of(sent: bytes, credentials: Credentials) -> list[tuple[str, str]]:
    """Every call that judging a PING makes, of ours and of the libraries."""
    steps: list[tuple[str, str]] = []
    made = handshake(credentials)

    def note_call(frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            steps.append((event, frame.f_code.co_name if event == "call" else getattr(argument, "__name__", "?")))

    sys.setprofile(note_call)
    try:
        verdict = made.received(sent)
    finally:
        sys.setprofile(None)
    assert verdict is not None
    assert not verdict.proven
    return steps


def test_a_wrong_guess_takes_the_same_steps_whoever_it_names() -> None:
    """Whether a user or a client of that name exists is not to be told from how long our answer takes."""
    credentials = Credentials(shared_key=b"k3y", client_keys={"bank": b"0wn"}, users={"alice": b"s3cret"})

    keys = [ping(b"guess", client=b"bank"), ping(b"guess", client=b"none"), ping(b"guess", user=b"nobody")]
    passwords = [ping(password=b"guess!"), ping(user=b"nobod", password=b"guess!")]

    for guesses in (keys, passwords):
        first, *others = [steps_of(sent, credentials) for sent in guesses]
        assert [step for step in first if step[1] == "compare_digest"] == [("c_call", "compare_digest")] * 2
        assert others == [first] * len(others)


@pytest.mark.parametrize(
    "sent",
    [
        b"\xc1",
        b"{}",
        msgpack.packb(["PING"]),
        msgpack.packb(["PONG", "a", "b", "c", "d", "e"]),
        msgpack.packb(["PING", "a", "b", "c", "d", 1]),
        msgpack.packb(["PING", "a" * 300, "b", "c", "d", "e"]),
        msgpack.packb(["PING", {"a": 1}, "b", "c", "d", "e"]),
        b"\x93\xa1t\x90\x80",
        b"\x96\xa4PING\xdb\x7f\xff\xff\xff",
        b"\x96\xa4PING\xda\x40\x00" + bytes(PING_LIMIT_BYTES),
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_no_ping_is_refused(sent: bytes) -> None:
    """Data without a handshake, a TLS hello, impossible lengths, an endless name."""
    mine = handshake()
    verdict = mine.received(sent) or mine.received(bytes(PING_LIMIT_BYTES))

    assert verdict is not None
    assert msgpack.unpackb(verdict.pong) == ["PONG", False, "invalid ping message", "", ""]


def test_a_client_with_a_key_of_its_own_must_know_that_one() -> None:
    """Its name is proven then; the shared key does not do for that name, and other names need the shared one."""
    credentials = Credentials(shared_key=b"k3y", client_keys={"client-1": b"own"})

    assert judged(ping(b"own", user=b""), credentials).proven == ("key:client-1",)
    assert not judged(ping(b"k3y", user=b""), credentials).proven
    assert judged(ping(b"k3y", client=b"client-2", user=b""), credentials).proven == ("shared-key",)
    assert not judged(ping(b"own", client=b"client-2", user=b""), credentials).proven


def test_without_a_shared_key_only_known_clients_come_in() -> None:
    """Keys by client alone; an empty or a guessed placeholder is no key."""
    credentials = Credentials(client_keys={"client-1": b"own"})

    assert judged(ping(b"own", user=b""), credentials).proven == ("key:client-1",)
    for guess in (b"", b"\0nobody"):
        assert not judged(ping(guess, client=b"client-2", user=b""), credentials).proven


def test_helo_asks_for_a_user_only_where_there_are_some() -> None:
    """An empty auth tells the client that no user is wanted."""
    assert msgpack.unpackb(handshake(KEY_ONLY).helo)[1]["auth"] == b""
    assert judged(ping(user=b""), KEY_ONLY).proven == ("shared-key",)
