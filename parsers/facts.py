"""Facts: short stable names for what is worth knowing of an act in a container, for rules, dashboards and people.

A fact is no alert: it says what was done, not that it was wrong. All trails give the same facts for the same act; one
function says which a command has, whoever told of it. What a command is, its words say: the last part of the path of
the first, behind `env`, `sudo` and their like the program that these run, and in a shell's script the first of each of
its commands. Whoever renames a shell is not found by this.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

FACTS: Final[dict[str, str]] = {
    "exec_terminal": "a process was started in a running container with a terminal: most likely a person",
    "exec_root": "a process was started as root in a container that runs as another user",
    "exec_privileged": "a process was started with all rights of the host (`--privileged`)",
    "attach": "somebody attached to a container's main process, also by `docker run` in the foreground",
    "copy_in": "files were copied into a container (`docker cp`, `kubectl cp`, `tar` from standard input)",
    "copy_out": "files were copied out of a container, or all of it was exported",
    "commit": "a container's files were made into an image",
    "shell_started": "a shell was started (`sh`, `bash`, …)",
    "package_manager": "a package manager was run (`apt`, `apk`, `pip`, …)",
    "sshd_started": "an SSH server was started",
    "login_after_failures": "a login succeeded within an hour after one or more that failed",
    "login_in_container": "somebody logged in inside a container: by its own sshd, login, su or sudo",
    "probe": "the command is a health check, or a probe that the configuration lists",
    "secrets_read": "Kubernetes: a Secret was read, or Secrets were listed or watched",
    "token_issued": "Kubernetes: a token of a service account was issued",
    "rbac_changed": "Kubernetes: roles, or who has them, were changed",
    "pod_privileged": "Kubernetes: a pod with a privileged container was made or changed, or what makes such pods",
    "pod_host_namespace": "Kubernetes: the same of a pod with its node's network, processes or memory",
    "admission_changed": "Kubernetes: admission webhooks or policies were changed",
    "debug_container": "Kubernetes: a container was put into a running pod (`kubectl debug`)",
    "node_proxy": "Kubernetes: a kubelet was asked through the API server, past what is recorded of pods",
    "port_forward": "Kubernetes: a pod's port was forwarded to a client",
    "anonymous": "Kubernetes: a request without any credentials, health checks aside",
    "impersonated": "Kubernetes: somebody acted as somebody else",
    "forbidden": "Kubernetes: a request was refused by authorisation",
}
"""Every fact there is, and what it means."""

SCRIPT_LIMIT: Final = 1 << 16
"""Characters of a shell's script in which commands are looked for."""

COMMANDS_LIMIT: Final = 256
"""Commands of a script that are looked at."""

WORDS_LIMIT: Final = 64
"""Words behind `env`, `sudo` and their like among which the command is looked for."""

ROOT: Final = ("", "0", "root")
"""How an Engine names root; nothing means the image's user, which is root where it has none."""

_SHELLS: Final = frozenset(
    {"sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "pwsh", "powershell", "cmd"}
)
_PACKAGE_MANAGERS: Final = frozenset(
    {
        *("apt", "apt-get", "aptitude", "dpkg", "yum", "dnf", "microdnf", "tdnf", "zypper", "rpm", "apk", "pacman"),
        *("emerge", "opkg", "snap", "flatpak", "brew", "nix-env", "pip", "pipx", "uv", "easy_install", "conda"),
        *("mamba", "npm", "yarn", "pnpm", "gem", "cpan", "cpanm", "composer", "cargo", "luarocks", "choco"),
    }
)
_SSH_SERVERS: Final = frozenset({"sshd", "sshd-session", "dropbear", "tinysshd"})
_SERVICES: Final = frozenset({"service", "rc-service", "systemctl"})
_STARTS: Final = frozenset({"start", "restart", "onestart", "enable"})
_SSH_NAMES: Final = frozenset({"ssh", "sshd", "dropbear", "ssh.service", "sshd.service"})
_WRAPPERS: Final = frozenset(
    {
        *("env", "sudo", "doas", "su", "su-exec", "gosu", "setpriv", "runuser", "nsenter", "unshare", "chroot", "tini"),
        *("nice", "ionice", "setsid", "timeout", "stdbuf", "time", "xargs", "exec", "command", "script", "nohup"),
        *("dumb-init", "busybox", "toybox", "strace", "if", "then", "else", "elif", "do", "while", "until", "!"),
    }
)
_KNOWN: Final = _SHELLS | _PACKAGE_MANAGERS | _SSH_SERVERS
_VALUED: Final = {
    "env": "uC", "sudo": "ugpCDhRTUrt", "doas": "uC", "su": "gGw", "runuser": "ugGw", "nsenter": "tSGr",
    "unshare": "RwSG", "timeout": "sk", "nice": "n", "ionice": "cnp", "stdbuf": "ioe", "time": "fo", "exec": "a",
    "xargs": "InPdELsa", "tini": "pe", "dumb-init": "r", "strace": "eopsEuaP",
}  # fmt: skip
"""Options of wrappers that have a value, by their letters; `-s` of su and runuser names the shell that is started."""
_VALUED_WORDS: Final = frozenset(
    {"--user", "--group", "--reuid", "--regid", "--groups", "--signal", "--kill-after", "--unset", "--chdir"}
)
_OPERANDS: Final = frozenset({"chroot", "gosu", "su-exec", "su", "script"})
"""Wrappers that have one word of their own before the command: a user, a folder, a file."""

_script_option = re.compile(r"-[a-zA-Z]*c")
_assignment = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_amount = re.compile(r"\d[\d.]*[smhd]?")
_version = re.compile(r"-?\d[\d.]*")
_command_ends = re.compile(r"[;&|\n(){}`]")
_quotes = str.maketrans("", "", "'\"\\")


class Command(msgspec.Struct, frozen=True):
    """A process that was started in a running container.

    `words` are its arguments, the first the program. `user` is as it was asked for, empty: the container's own. Of
    `container_user` None says that it is not known.
    """

    words: Sequence[str]
    tty: bool = False
    privileged: bool = False
    user: str = ""
    container_user: str | None = None


def command_facts(command: Command) -> list[str]:
    """Return the facts of a process that was started, in the order of FACTS."""
    found = {
        "exec_terminal": command.tty,
        "exec_root": is_root_of_another(command.user, command.container_user),
        "exec_privileged": command.privileged,
        **dict.fromkeys(_facts_of_words(command.words), True),
    }
    return in_order(name for name, holds in found.items() if holds)


def in_order(names: Iterator[str]) -> list[str]:
    """Return facts, each once, in the order of FACTS."""
    found = set(names)
    return [name for name in FACTS if name in found]


def is_root(user: str) -> bool:
    """Tell whether a user, perhaps with a group behind a colon, is root."""
    return user.partition(":")[0] in ROOT


def is_root_of_another(user: str, container_user: str | None) -> bool:
    """Tell whether a process runs as root though its container is known not to."""
    return user != "" and is_root(user) and container_user is not None and not is_root(container_user)


def _facts_of_words(words: Sequence[str]) -> Iterator[str]:
    """Yield what a command's words say of it."""
    program, rest = _program(words)
    yield from _facts_of_program(program, rest)
    if program in _SHELLS:
        for command in _commands(rest):
            yield from _facts_of_program(*_program(command))


def _facts_of_program(program: str, rest: Sequence[str]) -> Iterator[str]:
    if program in _SHELLS:
        yield "shell_started"
    if program in _PACKAGE_MANAGERS or (program == "python" and list(rest[:2]) == ["-m", "pip"]):
        yield "package_manager"
    if program in _SSH_SERVERS or _starts_ssh(program, rest):
        yield "sshd_started"
    if program == "tar" and "-" in rest:
        # `kubectl cp`, and `docker exec … tar`: an archive from standard input or to standard output.
        mode = next((word for word in rest if "x" in word or "c" in word), "")
        if "f" in mode and ("x" in mode) != ("c" in mode):
            yield "copy_in" if "x" in mode else "copy_out"


def _starts_ssh(program: str, rest: Sequence[str]) -> bool:
    """Tell whether it is a service's script or manager that is told to start an SSH server."""
    words = set(rest[:4])
    if program in _SSH_NAMES:  # /etc/init.d/ssh start
        return not words.isdisjoint(_STARTS)
    return program in _SERVICES and not words.isdisjoint(_STARTS) and not words.isdisjoint(_SSH_NAMES)


def _program(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the program that a command runs, without its folder and version, and the words behind it.

    Behind a wrapper it is the first word that is neither an option of the wrapper nor a value of one, an assignment, an
    amount or the wrapper's own operand. Where there is none, and where `command` is only asked, it is the wrapper.
    """
    name = first = _named(words[0]) if words else ""
    is_value, operands = False, int(name in _OPERANDS)
    for at, word in enumerate(words[1 : WORDS_LIMIT + 1], 2):
        if name not in _WRAPPERS or (name == "command" and word in ("-v", "-V")):
            break
        if is_value:
            is_value = False
        elif word.startswith("-"):
            is_value = _has_value(name, word)
        elif not _assignment.fullmatch(word) and not _amount.fullmatch(word):
            inner = _named(word)
            if inner not in _KNOWN and operands:
                operands = 0
            elif inner not in _WRAPPERS:
                return inner, words[at:]
            else:
                name, operands = inner, int(inner in _OPERANDS)
    return first, words[1:]


def _has_value(wrapper: str, option: str) -> bool:
    """Tell whether the word behind this option of a wrapper is the option's value."""
    if option.startswith("--"):
        return option in _VALUED_WORDS
    valued = _VALUED.get(wrapper, "")
    at = next((place for place, letter in enumerate(option) if letter in valued), None)
    return at == len(option) - 1


def _named(word: str) -> str:
    """Return a program's name: of `/usr/bin/python3.11` and `-bash` it is `python` and `bash`."""
    name = word.rpartition("/")[2].rpartition("\\")[2].removeprefix("-").lower().removesuffix(".exe")
    stem = name.rstrip("0123456789.")
    return stem if stem and _version.fullmatch(name[len(stem) :]) else name


def _commands(rest: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands of the script that a shell is given with `-c`."""
    at = next((number for number, word in enumerate(rest) if _script_option.fullmatch(word)), None)
    if at is None:
        return
    script = " ".join(rest[at + 1 :])[:SCRIPT_LIMIT]
    for text in _command_ends.split(script, maxsplit=COMMANDS_LIMIT)[:COMMANDS_LIMIT]:
        words = text.translate(_quotes).split()
        while words and _assignment.fullmatch(words[0]):
            del words[0]
        if words:
            yield words
