"""What Keycloak's events say."""

from parsers.formats.keycloak import category, event_type, outcome, said


def test_a_value_cannot_say_what_another_key_says() -> None:
    """Quotes in a value are escaped; of equal keys the first counts, as details come last."""
    event = (
        r'type="LOGIN", clientId="x\", userId=\"root", userId="u1", userId="u2", error="null", code=a, name=' + "'b c'"
    )

    assert {"type": "LOGIN", "clientId": 'x", userId="root', "userId": "u1", "code": "a", "name": "b c"} == said(event)


def test_kinds_of_events_have_their_categories_and_types() -> None:
    """Signing in and out is authentication; accounts and administrators are iam."""
    kinds = ("LOGIN", "LOGIN_ERROR", "CLIENT_LOGIN", "LOGOUT", "REFRESH_TOKEN_ERROR", "REGISTER")
    events = [f'type="{kind}", realmId="r"' for kind in kinds]
    events += [f'operationType="{kind}", realmId="r"' for kind in ("DELETE", "ACTION")]

    assert [
        (["authentication"], ["start"], "success"),
        (["authentication"], ["info"], "failure"),
        (["authentication"], ["start"], "success"),
        (["authentication"], ["end"], "success"),
        (["authentication"], ["info"], "failure"),
        (["iam"], ["user", "creation"], "success"),
        (["iam"], ["admin", "deletion"], "success"),
        (["iam"], ["admin", "info"], "success"),
    ] == [(category(event), event_type(event), outcome(event)) for event in events]
