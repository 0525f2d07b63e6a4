"""What an operator sees of the command line: sentences and exit codes, never a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TIDEWAITER = Path(sys.executable).with_name("tidewaiter")


def tidewaiter(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own."""
    return subprocess.run(
        [str(TIDEWAITER), *arguments], cwd=cwd, capture_output=True, text=True, timeout=90, check=False
    )


def test_check_names_all_problems_and_exits_1(tmp_path: Path) -> None:
    """Each problem is a line with file, line and path."""
    (tmp_path / "bad.yaml").write_text("nam: x\njournal: {limit: 5}\n")
    done = tidewaiter("--config", "bad.yaml", "check", cwd=tmp_path)

    assert done.returncode == 1
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == ["bad.yaml:1:", "bad.yaml:2:", "bad.yaml:"]
    assert "did you mean name?" in done.stdout
    assert done.stderr == ""


def test_check_tells_programs_as_well(tmp_path: Path) -> None:
    """--json gives path, line and message of each problem."""
    (tmp_path / "bad.yaml").write_text("nam: x\n")
    report = json.loads(tidewaiter("--config", "bad.yaml", "check", "--json", cwd=tmp_path).stdout)

    assert [(problem["path"], problem["line"]) for problem in report["problems"]] == [("nam", 1)]


def test_check_of_a_good_file_exits_0(tmp_path: Path) -> None:
    """And says so."""
    (tmp_path / "tidewaiter.yaml").write_text("name: x\nrules: {pack: false}\n")
    done = tidewaiter("check", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "tidewaiter.yaml: ok\n")


def test_check_warns_of_secrets_that_are_not_there(tmp_path: Path) -> None:
    """By place, for each output; the file itself is right, so the exit code is 0."""
    (tmp_path / "here").write_text("key")
    outputs: dict[str, dict[str, object]] = {
        "a": {"api_key": {"file": str(tmp_path / "none")}, "ca_file": "/no/ca.pem"},
        "b": {"username": "u", "password": {"env": "NO_SUCH_VARIABLE"}},
        "c": {"api_key": {"file": str(tmp_path / "here")}},
    }
    common: dict[str, object] = {"type": "elasticsearch", "urls": ["https://es.example:9200"]}
    text = json.dumps(
        {"rules": {"pack": False}, "outputs": {name: common | output for name, output in outputs.items()}}
    )
    (tmp_path / "tidewaiter.yaml").write_text(text)
    done = tidewaiter("check", cwd=tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.splitlines() == [
        f"tidewaiter.yaml: warning: output a: from here, cannot read the secret in {tmp_path}/none: "
        "No such file or directory",
        "tidewaiter.yaml: warning: output a: from here, cannot read the authority in /no/ca.pem",
        "tidewaiter.yaml: warning: output b: from here, the environment variable NO_SUCH_VARIABLE is not set",
        "tidewaiter.yaml: ok",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--config", "none.yaml", "run"], 2, "none.yaml"),
        (["--data-dir", "~no-such-user/data", "run"], 2, "data_dir"),
        (["serach"], 2, "serach"),
        (["run", "--config", "none.yaml"], 2, "none.yaml"),
        (["--config", "a.yaml", "setup", "elasticsearch", "--config", "b.yaml"], 2, "b.yaml"),
        (["search", "x", "--data-dir=y"], 3, "y/store: has a collector run"),
        (["search", "x", "--jsn"], 2, "--json"),
        (["--data-dir", "empty", "search", "x"], 3, "no local store"),
        (["search", "a AND ("], 2, "column"),
        (["setup", "elasticsearch"], 2, "no output of type elasticsearch"),
        (["setup", "kibana"], 2, "--url"),
        (["setup", "kibana", "--url", "kibana.example"], 2, "https://"),
        (["setup", "kibana", "--url", "https://user:word@kibana.example"], 2, "no user and password in it"),
        (["setup", "kibana", "--url", "http://127.0.0.1:1", "--user", "x"], 2, "--password-file"),
        (["setup", "kibana", "--url", "http://127.0.0.1:1", "--api-key-file", "none.key"], 2, "none.key"),
        (["setup", "kibana", "--url", "https://127.0.0.1:1", "--ca-file", "none.pem"], 2, "none.pem"),
        (["setup", "kibana", "--url", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_exit_code(tmp_path: Path, arguments: list[str], code: int, part: str) -> None:
    """2 for wrong usage or configuration, 3 for what cannot be reached."""
    done = tidewaiter(*arguments, cwd=tmp_path)

    assert done.returncode == code
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_asking_is_no_mistake(tmp_path: Path, option: str) -> None:
    """Help and version end with 0, whatever the configuration file says."""
    (tmp_path / "tidewaiter.yaml").write_text("no such key: 1")
    done = tidewaiter(option, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "tidewaiter" in done.stdout


def test_examples_of_the_help_stand_as_they_are_typed(tmp_path: Path) -> None:
    """Each on its own line, never wrapped: they are there to be copied."""
    lines = tidewaiter("search", "--help", cwd=tmp_path).stdout.splitlines()

    assert "  tidewaiter search --sql 'SELECT container_name, count(*) FROM logs GROUP BY 1'" in lines
    assert "  tidewaiter search '-container.name:web' --since 1h" in lines


def test_no_mark_of_the_help_is_shown(tmp_path: Path) -> None:
    """What keeps lines apart is for click: people saw a backslash and a `b`."""
    pages = [tidewaiter(*command, "--help", cwd=tmp_path).stdout for command in (["verify"], ["search"], ["journal"])]

    assert [page for page in pages if "\\b" in page] == []
    assert "  Not proven: who takes the machine can forge in the segment" in pages[0]


def test_no_line_of_the_help_is_cut(tmp_path: Path) -> None:
    """What a command does is said to its end."""
    lists = [tidewaiter(*command, "--help", cwd=tmp_path).stdout for command in ([], ["setup"])]

    assert [] == [text for text in lists if "..." in text.replace("[ARGS]...", "")]


def test_setup_can_be_looked_at_before_it_is_done(tmp_path: Path) -> None:
    """--dry-run prints every object and needs no Elasticsearch."""
    (tmp_path / "tidewaiter.yaml").write_text(
        "outputs: {e: {type: elasticsearch, urls: ['http://127.0.0.1:1'], retention: 7d}}"
    )
    objects = json.loads(tidewaiter("setup", "elasticsearch", "--dry-run", cwd=tmp_path).stdout)

    assert objects["_index_template/tidewaiter"]["template"]["lifecycle"] == {"data_retention": "7d"}


def test_a_password_in_kibanas_address_is_not_repeated(tmp_path: Path) -> None:
    """It was, where nobody answered."""
    done = tidewaiter("setup", "kibana", "--url", "http://elastic:s3cret@127.0.0.1:1", cwd=tmp_path)

    assert done.returncode == 2
    assert "s3cret" not in done.stdout + done.stderr


def test_kibanas_objects_can_be_files(tmp_path: Path) -> None:
    """Where there is no way to Kibana's API, a person imports them: one file of saved objects, one of rules."""
    done = tidewaiter("setup", "kibana", "--folder", "kibana", cwd=tmp_path)

    files = sorted((tmp_path / "kibana").iterdir())
    assert [file.name for file in files] == ["tidewaiter-objects.ndjson", "tidewaiter-rules.ndjson"]
    assert [line.split() for line in done.stdout.splitlines()] == [["written", f"kibana/{file.name}"] for file in files]
    assert {json.loads(line)["type"] for line in files[0].read_text().splitlines()} >= {"dashboard", "search"}
    assert json.loads(files[1].read_text())["rule_id"] == "tidewaiter-alerts"
