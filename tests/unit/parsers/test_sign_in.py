"""Lines of web applications that say who signed in."""

from typing import Any

import pytest

from parsers.sign_in import sign_in


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"event": "user.login.failed", "user": "alice"}, "failure"),
        ({"event": "user_signed_in", "username": "alice"}, "success"),
        ({"message": "Login succeeded", "user": {"name": "alice"}}, "success"),
        ({"msg": "failed login attempt for alice", "username": "alice"}, "failure"),
        ({"msg": "Unsuccessful login.", "username": "alice"}, "failure"),
        ({"action": "login", "result": "failure", "user": "alice"}, "failure"),
        ({"action": "login", "success": True, "user": "alice"}, "success"),
        ({"event_type": "AUTHENTICATION", "outcome": "SUCCESS", "user": "alice"}, "success"),
        ({"msg": "authentication failed for x for success", "user": "x for success"}, "failure"),
        ({"action": "login", "user": "alice"}, None),
        ({"msg": "Login failed"}, None),
        ({"msg": "Login failed", "user": "-"}, None),
        ({"msg": "the login page failed to load", "user": "alice"}, None),
        ({"msg": "logout succeeded", "user": "alice"}, None),
        ({"msg": "alice login failed", "user": "alice"}, None),
        ({"action": ["login"], "result": {"ok": True}, "user": "alice"}, None),
    ],
)
def test_a_sign_in_needs_a_name_a_phrase_and_an_outcome(found: dict[str, Any], expected: str | None) -> None:
    """What is not wholly a phrase for it says nothing."""
    assert expected == sign_in(found)
