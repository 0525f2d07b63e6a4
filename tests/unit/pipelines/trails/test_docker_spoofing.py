"""Labels of a container are written over what its Engine adds to an event; no document says what they say.

The sheet's section 1.4.
"""

from typing import Any

import pytest

from parsers.docker_event import ADDED, OWN_ATTRIBUTES
from pipelines import trail_state
from pipelines.enrich.bounds import METADATA_CUT
from pipelines.trails.docker_said import ATTRIBUTE_FORGED, ATTRIBUTE_UNPROVEN
from tests.kit.metadata import Told, away_message, container_message, of_engine
from tests.kit.trails import CONTAINER, EXEC, asked_exec, docker_record, exec_records, of_trail

VICTIM = "f" * 64
LIES: dict[str, Any] = {
    **dict.fromkeys(sorted(ADDED), "0"),
    "execID": VICTIM,
    "oldName": "/victim",
    "imageRef": "victim",
    "imageID": f"sha256:{VICTIM}",
    "comment": "victim",
}
ACTIONS = [action for action in OWN_ATTRIBUTES if action != "prune"]


def knowing(labels: dict[str, str], **more: Any) -> Told:
    """A pipeline to whom the Engine said all labels of the container."""
    told = Told()
    told.frame(of_engine(container_message(CONTAINER, Config={"Image": "acme/web:1.2", "Labels": labels}, **more)))
    return told


def lies_in(made: dict[str, Any]) -> set[str]:
    """Return what a document says by the word of labels, outside of labels and claims."""
    own = {name: value for name, value in made["tidewaiter"].items() if name not in ("claimed", "container")}
    said = repr((own, {name: made.get(name) for name in ("message", "process", "user", "related")}))
    fields = {*made.get("process", {}), *made["event"]} & {"exit_code", "entity_id", "tty", "reason", "duration"}
    return fields | {word for word in ("victim", VICTIM) if word in said}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_label_of_an_attributes_name_is_not_the_engines_word(action: str) -> None:
    """Of no action; the conflict is a finding, and what the label says is kept as a claim."""
    (made,) = knowing(LIES).frame(of_trail(docker_record(action, **LIES)))

    assert ATTRIBUTE_FORGED in made["tags"]
    assert lies_in(made) == set()
    claimed = made["tidewaiter"]["claimed"]["docker"]
    assert claimed == {name: LIES[name] for name in OWN_ATTRIBUTES[action]}
    assert made["container"]["labels"]["execID"] == VICTIM


@pytest.mark.parametrize("action", ACTIONS)
def test_attributes_of_a_container_without_such_labels_are_the_engines_word(action: str) -> None:
    """Whatever other labels it has."""
    own = {name: LIES[name] for name in OWN_ATTRIBUTES[action]}
    (made,) = knowing({"team": "a"}).frame(of_trail(docker_record(action, team="a", **own)))

    assert {ATTRIBUTE_FORGED, ATTRIBUTE_UNPROVEN}.isdisjoint(made.get("tags", []))
    assert "claimed" not in made["tidewaiter"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_label_is_found_by_events_that_cannot_have_such_an_attribute(action: str) -> None:
    """Of a container that was gone before its Engine could be asked: `create` has no exit code, unless by a label."""
    told = Told()
    told.frame(of_engine(away_message()), of_trail(docker_record("create", **LIES)))
    (made,) = told.restarted().frame(of_trail(docker_record(action, **LIES)))

    assert ATTRIBUTE_FORGED in made["tags"]
    assert lies_in(made) == set()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_attribute_that_earlier_events_did_not_have_is_no_label(action: str) -> None:
    """So the Engine's word is known as such although nobody asked it."""
    own = {name: LIES[name] for name in OWN_ATTRIBUTES[action]}
    told = Told()
    told.frame(of_engine(away_message()), of_trail(docker_record("create", team="a")))
    (made,) = told.frame(of_trail(docker_record(action, team="a", **own)))

    assert {ATTRIBUTE_FORGED, ATTRIBUTE_UNPROVEN}.isdisjoint(made["tags"])


def test_an_attribute_that_the_watcher_left_out_is_not_shown_to_be_none() -> None:
    """Of a container with very many labels not all of them are passed on."""
    told = Told()
    cut = docker_record("create", beside={"cut": ["Actor.Attributes"]})
    told.frame(of_engine(away_message()), of_trail(cut))
    (made,) = told.frame(of_trail(docker_record("die", exitCode="0")))

    assert ATTRIBUTE_UNPROVEN in made["tags"]
    assert lies_in(made) == set()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_attribute_that_may_be_a_label_is_not_believed(action: str) -> None:
    """Where neither the Engine nor an earlier event showed which it is."""
    told = Told()
    told.frame(of_engine(away_message()))
    (made,) = told.frame(of_trail(docker_record(action, **LIES)))

    assert lies_in(made) == set()
    assert {ATTRIBUTE_FORGED, ATTRIBUTE_UNPROVEN} & {*made["tags"]}


@pytest.mark.parametrize(
    ("more", "end"), [({}, b',"cut":["Config.Labels"]}'), ({"HostConfig": None}, b"}")], ids=["cut", "of-an-event"]
)
def test_labels_that_are_not_all_known_prove_nothing(more: dict[str, Any], end: bytes) -> None:
    """A container with more labels than are read, or of which only an event told, may have such a label as well."""
    told = Told()
    about = container_message(CONTAINER, Config={"Labels": {"a": "b"}}, **more)
    told.frame(of_engine(about[:-1] + end))
    (made,) = told.frame(of_trail(docker_record("die", exitCode="0", execDuration="1")))

    assert [tag for tag in made["tags"] if tag != METADATA_CUT] == [ATTRIBUTE_UNPROVEN]
    assert lies_in(made) == set()


def test_the_engines_own_answer_stands_against_a_forged_id() -> None:
    """An exec of a container with such labels is joined by what the Engine answers of it."""
    told = knowing(LIES)
    asked = asked_exec(["sh"], tty=True)
    records = [
        docker_record("exec_start: sh ", beside={"exec": asked}, **LIES),
        docker_record("exec_die", beside={"exec": {**asked, "Running": False, "ExitCode": 7}}, **LIES),
    ]
    started, ended = told.frame(of_trail(*records))

    assert started["process"]["entity_id"] == ended["process"]["entity_id"]
    assert ended["tidewaiter"]["exec"]["id"] == EXEC
    assert ended["process"]["exit_code"] == 7
    assert ended["process"]["args"] == ["sh"]


def test_an_answer_of_another_containers_exec_is_not_taken() -> None:
    """A label that holds the id of an exec of another container makes the watcher ask for that."""
    told = knowing(LIES)
    beside = {"exec": {**asked_exec(["victim"], container="b" * 64), "ID": VICTIM}}
    (made,) = told.frame(of_trail(docker_record("exec_start: sh ", beside=beside, **LIES)))

    assert lies_in(made) == set()
    assert made["process"]["command_line"] == "sh"


def test_a_forged_id_takes_no_exec_away() -> None:
    """Of another container: its end is told with all its facts."""
    other = "b" * 64
    told = knowing(LIES)
    told.frame(of_engine(container_message(other)))
    records = exec_records(["id"], container=other)
    told.frame(of_trail(*records[:2]))
    told.frame(of_trail(docker_record("exec_die", **{**LIES, "execID": EXEC})))
    (ended,) = told.frame(of_trail(records[2]))

    assert ended["process"]["args"] == ["id"]


def test_what_labels_forge_is_remembered_of_so_many_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of further ones the oldest is forgotten: then its attributes are not believed, rather than its labels."""
    monkeypatch.setattr(trail_state, "LABEL_NAMES_LIMIT", 1)
    told = Told()
    told.frame(of_engine(away_message()), of_trail(docker_record("create"), docker_record("create", actor="b" * 64)))
    (made,) = told.frame(of_trail(docker_record("die", exitCode="0")))

    assert ATTRIBUTE_UNPROVEN in made["tags"]


def test_a_removed_containers_labels_are_not_remembered() -> None:
    """Its id never comes again."""
    told = Told()
    told.frame(of_engine(away_message()), of_trail(docker_record("create"), docker_record("destroy")))

    assert len(told.pipeline.state.label_names) == 0
