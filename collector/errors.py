"""The errors that leave a component: each has a sentence for the operator and an exit code for the command line."""

from typing import ClassVar, NamedTuple


class TidewaiterError(Exception):
    """An error an operator can act on; its text is shown as it is, without a traceback."""

    exit_code: ClassVar[int] = 1


def sentence_of(error: BaseException) -> str | None:
    """Return what an operator is told of an error that lies outside the program; None for a fault of ours."""
    if isinstance(error, TidewaiterError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None


class Problem(NamedTuple):
    """One mistake in a configuration file. `path` is dotted (`outputs.elastic.urls[0]`), `line` counts from 1."""

    path: str
    line: int | None
    message: str


class ConfigError(TidewaiterError):
    """Everything that is wrong with a configuration, at once."""

    exit_code = 2

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        super().__init__("\n".join(f"{file}:{p.line or 1}: {p.path}: {p.message}" for p in problems))


class DataDirError(TidewaiterError):
    """The data folder cannot be used: held by another process, not ours, not writable, from a newer version."""

    exit_code = 3


class UnreachableError(TidewaiterError):
    """Something the command needs (Elasticsearch, a running collector) does not answer."""

    exit_code = 3


class QueryError(TidewaiterError):
    """A search query that cannot be parsed or that the local store cannot answer; `column` counts from 1."""

    exit_code = 2

    def __init__(self, message: str, column: int | None = None) -> None:
        self.column = column
        super().__init__(message if column is None else f"{message} (at column {column})")
