"""What lets its reader in is taken out of URLs and headers, and all else stays as it was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.request_secrets import header_without_secrets, is_secret_name, url_without_secrets

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"http://alice:{SECRET}@example.com/",
        f"/callback?code={SECRET}&state=1",
        f"/?a=1;access_token={SECRET}",
        f"/#id_token={SECRET}",
        f"/?%74oken={SECRET}",
        f"/?X-Amz-Signature={SECRET}&x=1",
        f"/?API_KEY={SECRET}==",
        f"HTTP/1.1 GET http://example.com/?password={SECRET} 200",
    ],
)
def test_the_token_of_a_url_is_not_kept(url: str) -> None:
    """Neither a user's password nor the value of a query's key that is named like a secret."""
    assert SECRET not in url_without_secrets(url)
    assert "[redacted]" in url_without_secrets(url)


@pytest.mark.parametrize(
    "url", ["http://example.com/a?x=1&author=alice&authors=2&code", "/token/1?keyboard=us", "/a@b", "?token=", ""]
)
def test_a_url_without_secrets_stays(url: str) -> None:
    """As it was sent."""
    assert url_without_secrets(url) == url


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Auth-Token", "X-API-Key", "X-Vault-Token"],
)
def test_a_header_that_is_a_secret_is_not_kept(name: str) -> None:
    """Its name is, and others stay but for the URLs in them."""
    assert header_without_secrets({"key": name, "value": SECRET}) == {"key": name, "value": "[redacted]"}


def test_other_headers_stay_but_for_the_urls_in_them() -> None:
    """So do those that are none."""
    assert header_without_secrets({"key": "Referer", "value": f"/?sid={SECRET}"})["value"] == "/?sid=[redacted]"
    for header in ({"key": "X-Request-Id", "value": "1"}, {"key": "Author", "value": 7}, {"value": None}, "x", None):
        assert header_without_secrets(header) == header


@given(st.text(alphabet="ab=&?;# /@:token%7", max_size=60))
def test_any_text_is_cleaned_once_and_for_all(text: str) -> None:
    """No exception, and nothing is left to take out of what comes back."""
    made = url_without_secrets(text)

    assert url_without_secrets(made) == made


def test_names_that_tell_of_secrets() -> None:
    """By a part of it, or where the word is short, by all of it."""
    assert [name for name in ("key", "monkey", "sid", "inside", "sessionid", "x", "") if is_secret_name(name)] == [
        "key", "sid", "sessionid",
    ]  # fmt: skip
