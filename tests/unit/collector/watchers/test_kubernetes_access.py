"""How an API server is reached: kubeconfig files and service accounts, good and bad."""

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from collector.watchers.kubernetes_access import KUBECONFIG_LIMIT_BYTES, AccessError, load_access
from tests.kit.kubernetes_watching import write_kubeconfig

URL = "https://192.0.2.10:6443"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority of certificates."""
    return trustme.CA()


def access_by(tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], url: str = URL) -> Any:
    """Load a kubeconfig with this user and cluster."""
    return load_access(write_kubeconfig(tmp_path / "config", url, user, cluster))


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_proves_us(tmp_path: Path, authority: trustme.CA, *, inline: bool) -> None:
    """Certificate, key and authority stand in the kubeconfig, or in files named from its folder."""
    own = authority.issue_cert("watcher.example")
    pieces = {
        "certificate-authority": authority.cert_pem.bytes(),
        "client-certificate": own.cert_chain_pems[0].bytes(),
        "client-key": own.private_key_pem.bytes(),
    }
    given = {}
    for option, content in pieces.items():
        if inline:
            given[f"{option}-data"] = base64.b64encode(content).decode()
        else:
            (tmp_path / option).write_bytes(content)
            given[option] = option
    user = {option: value for option, value in given.items() if option.startswith("client")}
    cluster = {option: value for option, value in given.items() if option not in user}

    access = access_by(tmp_path, user, {**cluster, "tls-server-name": "api.example"})

    assert access.server == URL
    assert access.server_name == "api.example"
    assert len(access.context.get_ca_certs()) == 1
    assert access.context.verify_mode is ssl.CERT_REQUIRED
    assert access.context.check_hostname
    assert access.headers() == {}


def test_a_service_account_is_what_a_pod_has(tmp_path: Path, authority: trustme.CA) -> None:
    """Without a kubeconfig: the address from the environment, token and authority from the pod's folder, read anew."""
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("first\n")
    environment = {"KUBERNETES_SERVICE_HOST": "2001:db8::1", "KUBERNETES_SERVICE_PORT": "443"}

    access = load_access(None, environment=environment, account=tmp_path)
    before = access.headers()
    (tmp_path / "token").write_text("second\n")

    assert access.server == "https://[2001:db8::1]:443"
    assert before == {"Authorization": "Bearer first"}
    assert access.headers() == {"Authorization": "Bearer second"}


@pytest.mark.parametrize(
    ("user", "cluster", "problem"),
    [
        ({"exec": {"command": "aws"}}, {}, "exec is not taken: the watcher starts no programs"),
        ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider is not taken"),
        ({"username": "admin", "password": "secret"}, {}, "username is not taken"),
        ({"as": "admin"}, {}, "as is not taken"),
        ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify is not taken: give the server's"),
        ({}, {"proxy-url": "http://proxy.example"}, "proxy-url is not taken"),
        ({}, {"server": "ftp://192.0.2.1"}, "no URL of an API server"),
        ({}, {"server": "https://user:secret@192.0.2.1"}, "no URL of an API server"),
        ({"token": "secret"}, {"server": "http://192.0.2.1"}, "http://192.0.2.1 is not asked without TLS"),
        ({"client-certificate-data": "c2VjcmV0"}, {}, "client-certificate and client-key go together"),
        ({"client-certificate-data": "!secret!"}, {}, "client-certificate-data is no Base64"),
        ({"client-certificate-data": "c2VjcmV0", "client-key-data": "c2VjcmV0"}, {}, "no certificate and its key"),
        ({}, {"certificate-authority-data": "c2VjcmV0"}, "certificate-authority is no certificate in PEM form"),
        ({}, {"certificate-authority": "missing.crt"}, "missing.crt: No such file or directory"),
    ],
)
def test_what_is_not_taken_is_refused_by_name(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], problem: str
) -> None:
    """Nothing is started, nothing is left unproven, and no secret is repeated."""
    with pytest.raises(AccessError) as refused:
        access_by(tmp_path, user, cluster)

    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def _with(cluster: str) -> bytes:
    """Make a kubeconfig whose cluster is written so."""
    context = "contexts: [{name: x, context: {cluster: y}}]"
    return f"{{current-context: x, {context}, clusters: [{{name: y, {cluster}}}]}}".encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [", "is no YAML"),
        (b"\xff\xfe\x00", "is no YAML"),
        (b"!!python/object/apply:os.system ['true']", "is no YAML"),
        (b"- a", "is no kubeconfig"),
        (b"{}", "has no current-context"),
        (b"current-context: x", "has no context 'x', which it names"),
        (b"{current-context: x, contexts: [{name: x, context: {cluster: y}}]}", "has no cluster 'y', which it names"),
        (b"{current-context: x, contexts: 5}", "has no context 'x', which it names"),
        (b"{current-context: x, contexts: [{name: x, context: [y]}]}", "has no context 'x', which it names"),
        (b"{current-context: [], contexts: x}", "has no current-context"),
        (_with("cluster: {server: 5}"), "no URL of an API server"),
        (_with('cluster: {server: "https://192.0.2.1", certificate-authority: "a\\0b"}'), "is no path"),
        (_with('cluster: {server: "https://192.0.2.1", certificate-authority-data: [1]}'), "is no Base64"),
        (b"#" * (KUBECONFIG_LIMIT_BYTES + 1), "is longer than"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """Whatever stands there, the message says which file and what is wrong."""
    path = tmp_path / "config"
    path.write_bytes(content)

    with pytest.raises(AccessError) as refused:
        load_access(str(path))

    assert problem in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_outside_a_cluster_a_kubeconfig_is_needed() -> None:
    """The message says what to do."""
    with pytest.raises(AccessError, match="give a kubeconfig"):
        load_access(None, environment={})


@pytest.mark.parametrize(("content", "problem"), [("", "is empty"), ("a\x01b", "what no token does")])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    """It is never sent."""
    (tmp_path / "token").write_text(content)
    access = access_by(tmp_path, {"tokenFile": "token"}, {})

    with pytest.raises(AccessError, match=problem):
        access.headers()


def test_a_key_leaves_no_file_behind(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no files in memory, the one that OpenSSL reads is gone afterwards."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    own = authority.issue_cert("watcher.example")
    user = {
        "client-certificate-data": base64.b64encode(own.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(own.private_key_pem.bytes()).decode(),
    }

    access_by(tmp_path, user, {})

    assert [path.name for path in tmp_path.iterdir()] == ["config"]
