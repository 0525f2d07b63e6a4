r"""Rules of stack traces: what begins one, and what may go on after what, per language.

A trace is in a *stage*, such as `python.frames`. A line that matches one of the stage's steps belongs to the trace and
brings it to the step's stage, END at once to its end; any other line is not of the trace. A beginning is looked for
within a line, since loggers put time and level before it (where its group `at` is, if it has one); all other patterns
are of whole lines without their ends. Each pattern takes time linear in the line: what repeats is bounded, or begins
where the part before it cannot go on.

Sources: what the runtimes print themselves, and their documentation.
"""

from typing import Final, NamedTuple

END: Final = ""
"""No stage: the line ends the trace."""

ERROR_TYPE: Final = (
    r"(?<![\w$.\\:])(?P<type>(?:[A-Za-z_$][\w$]{0,127}(?:\.|\\|::)){0,16}(?:[A-Z][\w$]{0,127}?)?"
    r"(?:Exception|Error))"
)
"""Classes that are known by their names: java.lang.IllegalStateException, TypeError, System.Exception."""

THROWN: Final = (
    rf"(?:Unhandled [Ee]xception[.:] )?{ERROR_TYPE}"
    r"(?: \[[A-Z][A-Z0-9_]{1,63}\]| \((?:0x[0-9A-Fa-f]{1,8}|-?\d{1,10})\))?"
    r"(?::(?: (?P<message>.*))?| \{)?$"
)
"""`TYPE: message`, also with Node's code or .NET's number behind the type, to the end of the line."""


class Step(NamedTuple):
    """A line that matches goes on with a trace, which is in stage `to` then."""

    pattern: str
    to: str


class Language(NamedTuple):
    """How traces of a language or a family begin and go on. `begins` are tried in order, each within the line.

    A line that begins one begins with a blank, or with HEAD_CHARACTERS that are one of `heads`, or holds one of MARKS.
    A message may have further lines that look like any others. What comes behind them tells: by a line of `resumes` a
    trace of this stage goes on, and they were its own.
    """

    begins: tuple[Step, ...]
    stages: dict[str, tuple[Step, ...]]
    heads: tuple[str, ...] = ()
    resumes: dict[str, tuple[Step, ...]] = {}  # noqa: RUF012  (a default of a tuple; nobody writes to it)


HEAD_CHARACTERS: Final = 5

MARKS: Final = ("Error", "Exception")


_AT: Final = Step(r"[\t ]+at \S.*", "frames")
_NODE_AT: Final = Step(r"[\t ]+at \S.*:\d+:\d+\)?", "node.frames")
_NESTED: Final = (
    Step(r"[\t ]*(?:Caused by|Suppressed|Wrapped by): .*", "thrown"),
    Step(r"[\t ]*---> .*", "thrown"),
    Step(r"[\t ]*\.\.\. \d+ (?:more|common frames omitted|frames? |lines matching ).*", "frames"),
    Step(r"[\t ]*--- End of (?:inner exception )?stack trace.*", "frames"),
    Step(r"[\t ]*\[CIRCULAR REFERENCE:.*", "frames"),
)

JAVA_AND_DOTNET: Final = Language(
    begins=(
        Step(r'Exception in thread "[^"]{0,256}" (?P<type>[\w$.]{1,256})(?::(?: (?P<message>.*))?)?$', "thrown"),
        Step(r"^java\.lang\.(?P<type>Throwable)(?:: (?P<message>.*))?$", "thrown"),
        Step(THROWN, "thrown"),
        Step(
            r"^[\t ]+at (?:[\w$<>/@.-]{1,512}\.)?[\w$<>`\[\],]{1,256}\([^()]*\)(?: in .+:line \d+| ~?\[.*\])?$",
            "frames",
        ),
    ),
    stages={
        # The message of an error may have further lines, which are indented where they can be told from other lines.
        "thrown": (_NODE_AT, _AT, *_NESTED, Step(r"[\t ]+\S.*|(?:File|Parameter) name: .*", "thrown")),
        "frames": (_NODE_AT, _AT, *_NESTED),
    },
    heads=("java.",),
    # .NET puts the messages of inner errors in brackets, and the first of these behind them.
    resumes={"thrown": (_NODE_AT, _AT, *_NESTED, Step(r".*\) ---> \S.*", "thrown"))},
)
"""Java and what runs beside it (Kotlin, Scala, Groovy, Clojure), .NET, and errors that a JavaScript program prints."""

NODE: Final = Language(
    begins=(
        Step(r"^(?:file://|node:)?[\w/.@%+~-]{1,1024}:\d+$", "node.source"),
        Step(r"^[\t ]+at (?:async )?[^()]{0,512}(?:\(.{1,1024}:\d+:\d+\)|/\S{1,1024}:\d+:\d+|node:\S{1,512}:\d+:\d+)$",
             "node.frames"),
    ),
    stages={
        "node.source": (Step(r"[\t ]+\S.*|.*\bthrow\b.*|.*[;{(),]", "node.code"),),
        "node.code": (Step(r"[\t ]*\^+[\t ]*", "node.caret"),),
        "node.caret": (Step("", "node.caret"), Step(r".* \{", "node.properties"), Step(r"\S.*", "node.thrown")),
        "node.thrown": (
            Step(r"[\t ]+at \S.* \{", "node.properties"),
            Step(r"[\t ]+at \S.*", "node.frames"),
            Step("", "node.after"),
            Step(r"\(Use `node --trace.*", "node.after"),
            # Further lines of the message: behind the caret an error ends with its frames or an empty line.
            Step(r".*", "node.thrown"),
        ),
        "node.frames": (
            Step(r"[\t ]+at \S.* \{", "node.properties"),
            Step(r"[\t ]+at \S.*", "node.frames"),
            Step(r"[\t ]*\.\.\. \d+ lines matching .*", "node.frames"),
            Step(r"[\t ]*(?:Caused by|\[cause\]): .*", "thrown"),
            Step("", "node.after"),
        ),
        "node.properties": (
            Step(r"[\t ]+.*", "node.properties"),
            Step(r"[}\]]+", "node.after"),
            Step("", "node.properties"),
        ),
        "node.after": (
            Step("", "node.after"),
            Step(r"\(Use `node --trace.*", "node.after"),
            Step(r"Node\.js v\d.*", END),
        ),
    },
    heads=(
        "node:", "file:", "/app/", "/buil", "/code", "/data", "/func", "/home", "/node", "/opt/", "/root", "/src/",
        "/srv/", "/usr/", "/var/", "/work",
    ),
)  # fmt: skip
"""Node.js where an error ends it: the place in the source, the line, a caret, the error, its frames and properties."""

_RUBY_PLACE: Final = r"[^\s:][^:]{0,1023}:\d+:in "
_RUBY_TYPE: Final = r"(?:\w{1,256}::){0,16}\w{0,256}(?:Error|Exception)"
_RUBY_LOGGED: Final = r"[DIWEFA], \[[^\]]{1,64}\] {1,3}[A-Z]{1,8} -- [^:]{0,256}: "
_RUBY_METHOD: Final = r"[`'][^`']{1,256}'"

_PYTHON_CHAIN: Final = (
    Step(r"During handling of the above exception, another exception occurred:", "python.chain"),
    Step(r"The above exception was the direct cause of the following exception:", "python.chain"),
)

PYTHON: Final = Language(
    begins=(
        Step(r"^Traceback \(most recent call last\):$", "python.head"),
        Step(r"^ {1,64}\+ Exception Group Traceback \(most recent call last\):$", "python.group"),
        Step(r"^Exception (?:in thread [^\"]{1,256}|ignored (?:in|on) ?.{1,1024}):?$", "python.before"),
        Step(r'^  File "[^"]{1,1024}", line \d+(?:, in .*)?$', "python.frames"),
    ),
    stages={
        "python.before": (Step(r"Traceback \(most recent call last\):", "python.head"),),
        "python.head": (
            Step(r'[\t ]+(?:File "|\[Previous ).*', "python.frames"),
            # Ruby can put the newest frame last, behind the same words.
            Step(r"[\t ]+\d+: from .*", "ruby.reversed"),
            Step(rf"{_RUBY_PLACE}{_RUBY_METHOD}: .* \({_RUBY_TYPE}\)", "ruby.raised"),
        ),
        "python.frames": (
            Step(r"[\t ]+.*", "python.frames"),
            Step(r"(?:[A-Za-z_]\w{0,255}\.){0,16}[A-Za-z_]\w{0,255}(?::.*)?", "python.raised"),
        ),
        "python.raised": (
            Step(r"[\t ]+(?!\+ Exception Group |File \").*", "python.raised"),
            Step("", "python.between"),
            Step(
                r"DETAIL: .*|HINT: .*|CONTEXT: .*|\[(?:SQL|parameters): .*|\(Background on this error at: .*",
                "python.raised",
            ),
        ),
        "python.between": (
            *_PYTHON_CHAIN,
            Step(r"\[SQL: .*", "python.raised"),
        ),
        "python.chain": (
            Step("", "python.chain"),
            Step(r"Traceback \(most recent call last\):", "python.head"),
            Step(r" {1,64}\+ Exception Group Traceback \(most recent call last\):", "python.group"),
        ),
        "python.group": (Step(r" +[|+].*", "python.group"), Step("", "python.between")),
    },
    heads=("Trace",),
    resumes=dict.fromkeys(("python.raised", "python.between"), _PYTHON_CHAIN),
)
"""Python, with chains and exception groups."""

_GOROUTINE: Final = r"goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[[^\]]{1,128}\](?: in \S+)?:"

GO: Final = Language(
    begins=(
        Step(r"^(?:panic|fatal error): .*$", "go.panic"),
        Step(r"^runtime: (?:goroutine stack exceeds|out of memory|unexpected|program exceeds).*$", "go.panic"),
        Step(r"^SIG(?:QUIT|SEGV|ABRT|BUS|ILL|TRAP|FPE): .*$", "go.panic"),
        Step(rf"^{_GOROUTINE}$", "go.goroutine"),
    ),
    stages={
        "go.panic": (
            Step("", "go.panic"),
            Step(rf"{_GOROUTINE}|runtime stack:", "go.goroutine"),
            Step(r"[\t ]+.*|\[(?:signal |recovered).*|(?:panic|fatal error|runtime): .*|PC=0x.*", "go.panic"),
        ),
        "go.goroutine": (
            Step(r"\t.*", "go.goroutine"),
            Step(r"[^\s(]+(?:\(\*[^\s)]+\)[^\s(]*)?\(.*\)", "go.goroutine"),
            Step(r"created by \S.*|\.\.\.(?:additional|\d+) frames elided\.\.\.", "go.goroutine"),
            Step("", "go.between"),
            Step(r"exit status \d+", END),
        ),
        "go.between": (
            Step("", "go.between"),
            Step(rf"{_GOROUTINE}|runtime stack:", "go.goroutine"),
            Step(r"(?:r[a-z\d]{1,5}|[cdefgs]s) +0x[\da-f]+", "go.between"),
            Step(r"exit status \d+", END),
        ),
    },
    heads=("panic", "fatal", "runti", "gorou", "SIGQU", "SIGSE", "SIGAB", "SIGBU", "SIGIL", "SIGTR", "SIGFP"),
    resumes={"go.panic": (Step(_GOROUTINE, "go.goroutine"),)},
)
"""Go: panics, fatal errors, and dumps of goroutines."""

RUBY: Final = Language(
    begins=(
        Step(rf"^{_RUBY_PLACE}{_RUBY_METHOD}: (?P<message>.*) \((?P<type>{_RUBY_TYPE})\)$", "ruby.raised"),
        Step(rf"^{ERROR_TYPE} \((?P<message>.*)\):$", "ruby.rails"),
        Step(rf"^{_RUBY_LOGGED}(?P<at>)(?P<message>.*) \((?P<type>{_RUBY_TYPE})\)$", "ruby.rails"),
    ),
    stages={
        "ruby.raised": (
            Step(r"[\t ]+(?:\d+: )?from .*", "ruby.frames"),
            Step("", "ruby.source"),
            Step(r"[\t ]+\S.*", "ruby.raised"),
        ),
        "ruby.source": (Step(r".*[^\s.,;:!].*", "ruby.code"),),
        "ruby.code": (Step(r"[\t ]*\^+[\t ]*", "ruby.frames"),),
        "ruby.frames": (
            Step(r"[\t ]+(?:\d+: )?from .*|[\t ]+\.\.\. \d+ levels\.\.\.", "ruby.frames"),
            Step(rf"{_RUBY_PLACE}{_RUBY_METHOD}: .* \({_RUBY_TYPE}\)", "ruby.raised"),
            Step(r"Did you mean\?.*", "ruby.frames"),
        ),
        "ruby.reversed": (
            Step(r"[\t ]+\d+: from .*", "ruby.reversed"),
            Step(rf"{_RUBY_PLACE}{_RUBY_METHOD}: .* \({_RUBY_TYPE}\)", "ruby.raised"),
        ),
        "ruby.rails": (
            Step(r"[\t ]*", "ruby.rails"),
            Step(rf"(?!.*\({_RUBY_TYPE}\)$)[\t ]*{_RUBY_PLACE}.*", "ruby.rails"),
        ),
    },
)  # fmt: skip
"""Ruby, and what its Logger and Rails write of an error."""

_PHP_TYPE: Final = r"(?P<type>[\w\\]{0,256}(?:Error|Exception))"

PHP: Final = Language(
    begins=(
        Step(
            rf"(?:PHP )?(?:Fatal|Recoverable fatal|Parse) error: {{1,2}}Uncaught {_PHP_TYPE}(?:: (?P<message>.*))?$",
            "php.thrown",
        ),
        Step(
            rf"^(?:(?!\(code: ).)*?(?P<at>)\({_PHP_TYPE}\(code: -?\d{{1,19}}\): "
            r"(?P<message>.*) at [^\s()]{1,1024}:\d+\)$",
            "php.thrown",
        ),
    ),
    stages={
        "php.thrown": (
            Step(r"(?:PHP )?Stack trace:", "php.trace"),
            Step(r"\[stacktrace\]", "php.trace"),
            Step(r"[\t ]+thrown in .* on line \d+", END),
            Step(r"[\t ]+\S.*|.* in [^\s:]{1,1024}:\d+", "php.thrown"),
        ),
        "php.trace": (
            Step(r"(?:PHP )?[\t ]*#?\d+\.? .*", "php.trace"),
            Step("", "php.trace"),
            Step(r"Next [\w\\]{1,256}(?:: .*)?", "php.thrown"),
            Step(r"(?:PHP )?[\t ]*thrown in .* on line \d+", END),
            Step(r"\[previous exception\].*", "php.thrown"),
            Step(r'"\}[\t ]*', END),
        ),
    },
    resumes={
        "php.thrown": (
            Step(r"(?:PHP )?Stack trace:", "php.trace"),
            Step(r"\[stacktrace\]", "php.trace"),
            Step(r".* in [^\s:]{1,1024}:\d+", "php.thrown"),
        ),
    },
)  # fmt: skip
"""PHP, and what Monolog and Laravel write of an exception."""

RUST: Final = Language(
    begins=(
        Step(
            r"^thread '[^']{0,256}' (?:\(\d{1,20}\) )?panicked at '(?P<message>.*)', \S{1,1024}:\d+:\d+$", "rust.raised"
        ),
        Step(r"^thread '[^']{0,256}' (?:\(\d{1,20}\) )?panicked at \S{1,1024}:\d+:\d+:$", "rust.head"),
        Step(r"^stack backtrace:$", "rust.trace"),
    ),
    stages={
        "rust.head": (Step(r".*", "rust.raised"),),
        "rust.raised": (
            Step(r"stack backtrace:", "rust.trace"),
            Step(r"note: run with .*", END),
            Step(r"[\t ]+\S.*", "rust.raised"),
        ),
        "rust.trace": (Step(r"[\t ]+(?:\d+:|at) .*", "rust.trace"), Step(r"note: .*", END)),
    },
    heads=("threa", "stack"),
    resumes={"rust.raised": (Step(r"stack backtrace:", "rust.trace"), Step(r"note: run with .*", END))},
)
"""Rust's panics, with backtraces or without."""

LANGUAGES: Final = {
    "php": PHP,
    "ruby": RUBY,
    "python": PYTHON,
    "go": GO,
    "rust": RUST,
    "node": NODE,
    "java": JAVA_AND_DOTNET,
}
"""All, in the order in which beginnings are tried: those that name an error's class anywhere in a line come last."""
