"""What leaves the watcher of an Engine's answers: what is named, bounded, and never a value of the environment."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.watchers.docker_reduce import (
    CONTAINER_LIMIT_BYTES,
    ITEMS_LIMIT,
    TEXT_LIMIT,
    about_host,
    container_of_event,
    container_of_list,
    reduced_container,
    reduced_image,
)
from tests.kit.docker_stub import identity_of, inspected

SECRET = "of-nobodys-business"


def reduced(**changes: Any) -> tuple[dict[str, Any], set[str]]:
    """Reduce a container with these changes of its configuration."""
    answer = inspected("web")
    answer["Config"] |= changes
    cuts: set[str] = set()
    return reduced_container(answer, cuts), cuts


def test_only_what_is_named_passes() -> None:
    """Neither log options with their tokens, nor paths, nor MAC addresses."""
    container, cuts = reduced()

    assert {
        "Id": identity_of("web"),
        "Created": "2026-11-29T09:20:03.528269152Z",
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "OOMKilled": False,
            "Pid": 4780,
            "ExitCode": 0,
            "StartedAt": "2026-11-29T09:20:03.691873491Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Image": f"sha256:{identity_of('acme/bb')}",
        "Name": "/web",
        "RestartCount": 0,
        "Platform": "linux",
        "HostConfig": {"NetworkMode": "bridge", "Privileged": False},
        "Mounts": [{"Type": "bind", "Source": "/srv", "Destination": "/data", "RW": True}],
        "Config": {
            "Hostname": "web",
            "User": "",
            "Env": ["PASSWORD", "PATH"],
            "Cmd": ["sleep", "100"],
            "Image": "acme/bb:1.2",
            "Labels": {},
        },
        "NetworkSettings": {
            "Networks": {"bridge": {"IPAddress": "192.0.2.17"}},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
        },
    } == container
    assert set() == cuts


@given(st.lists(st.text(), max_size=5), st.lists(st.text(alphabet="AB_é"), max_size=5))
@settings(max_examples=200)
def test_no_value_of_the_environment_passes(values: list[str], names: list[str]) -> None:
    """Whatever stands in it: also a second `=`, a line break, or no `=` at all."""
    marked = [f"{name}={SECRET}{value}={SECRET}" for name, value in zip(names, values, strict=False)]
    container, _ = reduced(Env=[*marked, f"A={SECRET}\nB={SECRET}"])

    assert SECRET not in json.dumps(container, ensure_ascii=False)


@pytest.mark.parametrize("env", [{"PASSWORD": SECRET}, f"PASSWORD={SECRET}", [["PASSWORD", SECRET]], [{"a": SECRET}]])
def test_an_environment_of_another_shape_is_left_out(env: object) -> None:
    """A proxy, or an Engine to come, may write it in another way."""
    container, _ = reduced(Env=env)

    assert SECRET not in json.dumps(container)


def test_what_the_engine_probes_a_container_by_is_told() -> None:
    """The command as it is given, and the shell that a command of text is given to; no more."""
    container, cuts = reduced(
        Healthcheck={"Test": ["CMD-SHELL", "wget -q localhost"], "Interval": 1_000_000}, Shell=["/bin/ash", "-c"]
    )

    assert {"Test": ["CMD-SHELL", "wget -q localhost"]} == container["Config"]["Healthcheck"]
    assert ["/bin/ash", "-c"] == container["Config"]["Shell"]
    assert set() == cuts


def test_values_of_another_type_are_left_out() -> None:
    """One by one: what stands beside them passes."""
    answer = inspected("web", State="running", Mounts={}, RestartCount="3", Platform=None, Name=["web"])
    answer["Config"] |= {"Labels": {"a": 1, "b": "2"}, "Tty": "yes", "Cmd": ["sleep", 100]}
    answer["HostConfig"] |= {"Privileged": 1, "Memory": True}
    answer["NetworkSettings"] |= {"Networks": {"bridge": []}, "Ports": {"80/tcp": "8080"}}

    container = reduced_container(answer, set())

    assert {"State", "Mounts", "RestartCount", "Platform", "Name"}.isdisjoint(container)
    assert ({"b": "2"}, ["sleep"]) == (container["Config"]["Labels"], container["Config"]["Cmd"])
    assert {"NetworkMode": "bridge"} == container["HostConfig"]
    assert {"Networks": {"bridge": None}, "Ports": {"80/tcp": None}} == container["NetworkSettings"]


def test_a_command_given_as_one_text_is_a_list_of_one() -> None:
    """As images of old have it."""
    container, _ = reduced(Entrypoint="/start")

    assert ["/start"] == container["Config"]["Entrypoint"]


def test_what_is_too_long_or_too_much_is_cut_and_told() -> None:
    """With the place; the first labels in order of their names stay, whichever the Engine wrote first."""
    labels = {f"l{number:04}": "x" for number in reversed(range(ITEMS_LIMIT + 1))}
    container, cuts = reduced(
        Labels=labels | {"a" * 300: "x"}, Cmd=["x" * (TEXT_LIMIT + 1)], Env=["A=1"] * (ITEMS_LIMIT + 1)
    )

    assert [f"l{number:04}" for number in range(ITEMS_LIMIT - 1)] == list(container["Config"]["Labels"])
    assert TEXT_LIMIT == len(container["Config"]["Cmd"][0])
    assert ITEMS_LIMIT == len(container["Config"]["Env"])
    assert {"Config.Labels", "Config.Cmd", "Config.Env"} == cuts


def test_a_container_that_is_too_large_loses_what_is_bulky() -> None:
    """Labels at last, and never what it is; the cuts name what went."""
    answer = inspected("web")
    answer["Mounts"] = [{"Source": "s" * TEXT_LIMIT, "Destination": "d" * TEXT_LIMIT}] * ITEMS_LIMIT
    answer["Config"] |= {"Cmd": ["x" * TEXT_LIMIT] * 64, "Labels": {f"l{n}": "x" * 100 for n in range(200)}}
    cuts: set[str] = set()

    container = reduced_container(answer, cuts)

    assert len(json.dumps(container)) < CONTAINER_LIMIT_BYTES
    assert {"NetworkSettings", "Mounts", "Config.Cmd"} == cuts
    assert 200 == len(container["Config"]["Labels"])
    assert {"Id", "Name", "State", "HostConfig"} <= container.keys()


def test_large_labels_hide_no_mounts() -> None:
    """The longest of them go, those that say something stay, and so does all else."""
    answer = inspected("web")
    answer["Mounts"] = [{"Type": "bind", "Source": "/", "Destination": "/host", "RW": True}]
    answer["Config"]["Labels"] = {f"l{n:03}": "x" * TEXT_LIMIT for n in range(200)} | {"tidewaiter.parser": "json"}
    cuts: set[str] = set()

    container = reduced_container(answer, cuts)

    assert len(json.dumps(container)) < CONTAINER_LIMIT_BYTES
    assert {"Config.Labels"} == cuts
    assert [*(f"l{n:03}" for n in range(193, 200)), "tidewaiter.parser"] == list(container["Config"]["Labels"])
    assert [answer["Mounts"][0]] == container["Mounts"]


def test_an_image_is_its_names_and_digests() -> None:
    """Neither its configuration nor its layers."""
    answer = {"Id": "sha256:1", "RepoTags": ["a:1"], "RepoDigests": None, "Created": "then", "Config": {"Env": ["A=1"]}}

    assert {"Id": "sha256:1", "RepoTags": ["a:1"], "Created": "then"} == reduced_image(answer)


def test_an_image_with_too_many_names_has_none() -> None:
    """Its id stays."""
    answer = {"Id": "sha256:1", "RepoTags": ["a" * TEXT_LIMIT] * ITEMS_LIMIT, "RepoDigests": [], "Created": "then"}

    assert {"Id": "sha256:1", "Created": "then"} == reduced_image(answer)


def test_an_event_tells_name_image_and_labels() -> None:
    """What an action adds is no label."""
    attributes = {"image": "nginx:1.25", "name": "web", "team": "orders", "exitCode": "0", "execDuration": "3"}

    assert {
        "Id": "a" * 64,
        "Name": "/web",
        "Config": {"Image": "nginx:1.25", "Labels": {"team": "orders"}},
    } == container_of_event("a" * 64, attributes, set())


def test_a_list_tells_a_little_more() -> None:
    """The image's id and the state too."""
    listed = {
        "Names": ["/web", "/other/alias"],
        "Image": "nginx",
        "ImageID": "sha256:1",
        "Labels": {},
        "State": "exited",
    }

    assert {
        "Id": "a" * 64,
        "Name": "/web",
        "Image": "sha256:1",
        "Config": {"Image": "nginx", "Labels": {}},
        "State": {"Status": "exited"},
    } == container_of_list("a" * 64, listed, set())


def test_the_host_is_what_the_engine_says_of_itself_else_what_its_version_says() -> None:
    """A proxy may refuse the former."""
    version = {"Os": "linux", "Arch": "amd64", "KernelVersion": "6.1.0", "Version": "20.10.24"}
    about = {"Name": "host-1", "OperatingSystem": "Debian GNU/Linux 12", "Architecture": "x86_64", "ServerVersion": 20}

    assert {
        "name": "host-1",
        "os": "Debian GNU/Linux 12",
        "kernel": "6.1.0",
        "architecture": "x86_64",
    } == about_host(about, version)
    assert {"os": "linux", "kernel": "6.1.0", "architecture": "amd64", "engine_version": "20.10.24"} == about_host(
        {}, version
    )
