"""Syslog of any program takes what no other format does, and structured data of RFC 5424."""

import json
from pathlib import Path
from typing import Final

from parsers.formats.syslog import FORMAT, PARAMETERS_LIMIT, to_structured
from parsers.table import Payload

GOLDEN: Final = Path(__file__).parents[3] / "golden" / "formats"
PROGRAMS: Final = ("sshd", "pam", "sudo", "su", "login", "accounts", "cron", "logind", "haproxy", "auditd")


def test_a_stream_that_shows_syslog_first_loses_no_login() -> None:
    """Lines of programs with a format of their own are never this format's, in whatever order formats are tried."""
    taken = []
    for name in PROGRAMS:
        for path in (GOLDEN / name).glob("*.log"):
            lines = path.read_text(encoding="utf-8").split("\n")
            formats = [json.loads(each)["format"] for each in path.with_suffix(".jsonl").read_text().splitlines()]
            taken += [
                line
                for line, of in zip(lines, formats, strict=False)
                if of == name and FORMAT.parse(Payload(line), 0) is not None
            ]

    assert taken == []


def test_structured_data_keeps_every_value() -> None:
    """A name that stands twice has both values, and only the three escapes of RFC 5424 are undone."""
    assert {"a@1": {"k": ["1", "2"]}, "b": {"x": '\\d"]\\'}} == to_structured(r'[a@1 k="1" k="2"][b x="\d\"\]\\"]')


def test_structured_data_of_thousands_of_parameters_stays_a_text() -> None:
    """It took 20 ms to take 10,000 apart; nothing of it is lost."""
    few, many = ("[a@1" + ' k="1"' * count + "]" for count in (PARAMETERS_LIMIT - 1, PARAMETERS_LIMIT))

    assert {"a@1": {"k": ["1"] * (PARAMETERS_LIMIT - 1)}} == to_structured(few)
    assert {"a@1": many} == to_structured(many)
