"""A command's facts are what its words, its terminal, its user and its rights say, whoever tells of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.facts import FACTS, Command, command_facts


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["sh"], ["shell_started"]),
        (["/bin/bash", "-l"], ["shell_started"]),
        (["-zsh"], ["shell_started"]),
        (["env", "HOME=/root", "-i", "bash"], ["shell_started"]),
        (["busybox", "ash"], ["shell_started"]),
        (["nsenter", "-t", "1", "-m", "--", "/bin/sh"], ["shell_started"]),
        (["sh", "-c", "id"], ["shell_started"]),
        (["sh", "-c", "cd /x && DEBIAN_FRONTEND=no apt-get update; ls"], ["shell_started", "package_manager"]),
        (["bash", "-lc", "if true; then exec pip3.11 install x; fi"], ["shell_started", "package_manager"]),
        (["bash", "-ec", "/usr/sbin/sshd -D"], ["shell_started", "sshd_started"]),
        (["sh", "-c", "echo apt-get"], ["shell_started"]),
        (["sh", "-c", "'apt-get' update"], ["shell_started", "package_manager"]),
        (["/usr/bin/python3", "-m", "pip", "install", "x"], ["package_manager"]),
        (["python3", "app.py"], []),
        (["sudo", "apk", "add", "curl"], ["package_manager"]),
        (["service", "ssh", "start"], ["sshd_started"]),
        (["/etc/init.d/ssh", "restart"], ["sshd_started"]),
        (["systemctl", "status", "ssh"], []),
        (["ssh", "host"], []),
        (["tar", "-xmf", "-", "-C", "/tmp"], ["copy_in"]),
        (["tar", "cf", "-", "/etc"], ["copy_out"]),
        (["tar", "xf", "a.tar"], []),
        (["cat", "/bin/sh"], []),
        (["env", "SHELL=/bin/sh", "ls"], []),
        (["sudo", "-Eu", "app", "/bin/bash"], ["shell_started"]),
        (["sudo", "--user", "app", "env", "X=1", "timeout", "5s", "bash"], ["shell_started"]),
        (["su", "-", "app", "-c", "bash"], ["shell_started"]),
        (["su", "-s", "/bin/bash", "app"], ["shell_started"]),
        (["gosu", "app", "sh"], ["shell_started"]),
        (["chroot", "/mnt", "apt-get", "update"], ["package_manager"]),
        (["nice", "-n", "10", "pip", "install", "x"], ["package_manager"]),
        (["sudo", "tar", "xf", "-"], ["copy_in"]),
        (["sudo", "python3", "-m", "pip", "install", "x"], ["package_manager"]),
        (["sh", "-c", "if ! id; then sudo apt-get update; fi"], ["shell_started", "package_manager"]),
        ([""], []),
        ([], []),
    ],
)
def test_a_command_is_known_by_its_words(words: list[str], facts: list[str]) -> None:
    """By the program, behind others by the first known one, and by the commands of a shell's script."""
    assert command_facts(Command(words)) == facts


@pytest.mark.parametrize(
    ("user", "container_user", "is_fact"),
    [
        ("root", "1000:1000", True),
        ("0:0", "app", True),
        ("", "1000", False),
        ("root", "", False),
        ("root", "0", False),
        ("root", None, False),
        ("app", "1000", False),
    ],
)
def test_root_is_a_fact_where_the_container_is_known_to_run_as_another(
    user: str, container_user: str | None, is_fact: bool
) -> None:
    """What is not known is no fact."""
    command = Command(["id"], user=user, container_user=container_user)

    assert command_facts(command) == (["exec_root"] if is_fact else [])


@pytest.mark.parametrize(
    "command",
    [
        "timeout 5 cat /bin/bash",
        "timeout -s KILL 5s cat /bin/bash",
        "nice grep sh x",
        "env ls /usr/bin/pip",
        "env -i HOME=/root ls bash",
        "command -v apt-get",
        "sudo -u app ls /bin/sh",
        "sudo -u bash id",
        "xargs -n 1 ls sh",
        "if command -v apt-get",
        "gosu app cat /bin/sh",
        "env",
    ],
)
def test_a_program_among_the_arguments_of_another_is_not_run(command: str) -> None:
    """Behind `env` and its like the first word that is the program counts, not any that is known."""
    assert command_facts(Command(command.split())) == []


def test_terminal_and_rights_are_facts() -> None:
    """In the order of the list."""
    assert command_facts(Command(["id"], tty=True, privileged=True)) == ["exec_terminal", "exec_privileged"]


@given(st.lists(st.text(max_size=40) | st.sampled_from(["sh", "-c", "env", "tar", "-", "xf", "a=b"]), max_size=12))
def test_any_words_give_known_facts(words: list[str]) -> None:
    """Whatever they are."""
    found = command_facts(Command(words))

    assert found == [name for name in FACTS if name in found]
