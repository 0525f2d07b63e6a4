"""The options of the input `kubernetes`, and what `check` says of them."""

from pathlib import Path

import pytest

from collector.config import clusters, watched
from collector.config_file import absences, parse
from collector.config_kubernetes import EVERYBODY, KubernetesInputConfig, NodeError, node_of
from collector.errors import ConfigError
from collector.watchers.kubernetes_access import unusable
from tests.kit.kubernetes_watching import write_kubeconfig


def problems(text: str) -> list[str]:
    """Return what is wrong with inputs that are written so."""
    with pytest.raises(ConfigError) as refused:
        parse(f"inputs:\n{text}\n", "file")
    return [f"{problem.path}: {problem.message}" for problem in refused.value.problems]


def test_nothing_needs_to_be_said_in_a_cluster() -> None:
    """The pod's service account, all namespaces and nodes, all senders, no annotations."""
    config = parse("inputs:\n  here: {type: kubernetes}\n", "file")

    assert clusters(config) == watched(config) == {"here": KubernetesInputConfig()}
    assert config.inputs["here"].peers == list(EVERYBODY)  # type: ignore[union-attr]


def test_each_option_is_read() -> None:
    """As it is written on the page."""
    config = parse(
        "inputs:\n"
        "  k: {type: kubernetes, kubeconfig: /etc/k, cluster: prod, peers: [192.0.2.0/24], node: 'env:NODE_NAME',\n"
        "      namespaces: [shop, data-1], annotations: ['example.com/*']}\n",
        "file",
    )

    assert config.inputs["k"] == KubernetesInputConfig(
        kubeconfig="/etc/k",
        cluster="prod",
        peers=["192.0.2.0/24"],
        node="env:NODE_NAME",
        namespaces=["shop", "data-1"],
        annotations=["example.com/*"],
    )


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("node: 'a,spec.nodeName=b'", "inputs.k.node: 'a,spec.nodeName=b' is no node"),
        ("node: 'env:'", "inputs.k.node: 'env:' is no node"),
        ("node: Worker", "inputs.k.node: 'Worker' is no node"),
        ("namespaces: [a/../b]", "inputs.k.namespaces[0]: 'a/../b' is no namespace"),
        ("namespaces: []", "inputs.k.namespaces: must not be empty"),
        ("annotation: ['*']", "unknown key 'annotation'; did you mean annotations?"),
        ("peers: [everybody]", "inputs.k.peers[0]: 'everybody' is no peer"),
    ],
)
def test_what_is_written_wrong_is_named(option: str, problem: str) -> None:
    """Whatever would go into a path or a selector is what Kubernetes takes for a name."""
    (found,) = problems(f"  k: {{type: kubernetes, {option}}}")

    assert problem in found


def test_two_clusters_have_senders_and_names_of_their_own() -> None:
    """Whose pod a record is of would be a guess; of equal names one would take back what the other says."""
    found = problems("  a: {type: kubernetes, cluster: one}\n  b: {type: kubernetes, cluster: one}")

    assert "inputs.b.cluster: one is the cluster of input a too: each has a name of its own" in found
    assert sum("is a peer of input" in problem for problem in found) == 2


def test_an_engine_and_a_cluster_may_share_senders() -> None:
    """A node may have containers of its own beside its pods."""
    config = parse("inputs:\n  a: {type: kubernetes}\n  b: {type: docker_events}\n", "file")

    assert list(watched(config)) == ["a", "b"]


def test_check_says_what_is_not_here_and_what_is_wrong(tmp_path: Path) -> None:
    """A file that is elsewhere is a warning; one that cannot be taken is a problem."""
    missing = KubernetesInputConfig(kubeconfig=str(tmp_path / "missing"))
    wrong = KubernetesInputConfig(
        kubeconfig=write_kubeconfig(tmp_path / "config", "https://192.0.2.1", {"exec": {"command": "aws"}})
    )
    config = parse(f"inputs:\n  k: {{type: kubernetes, kubeconfig: {missing.kubeconfig}}}\n", "file")

    assert list(absences(config)) == [
        f"input k: from here, cannot read {missing.kubeconfig}: No such file or directory"
    ]
    assert list(unusable(missing)) == []
    assert ["exec is not taken" in problem for problem in unusable(wrong)] == [True]


def test_the_nodes_name_stands_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the downward API puts it there; without, or with what is none, nothing is guessed."""
    options = KubernetesInputConfig(node="env:NODE_NAME")
    monkeypatch.setenv("NODE_NAME", "worker-1.example")
    found = node_of(options)
    monkeypatch.setenv("NODE_NAME", "a,b")
    with pytest.raises(NodeError, match="NODE_NAME: it is no name of a node"):
        node_of(options)
    monkeypatch.delenv("NODE_NAME")
    with pytest.raises(NodeError, match="NODE_NAME: it is not set"):
        node_of(options)

    assert found == "worker-1.example"
