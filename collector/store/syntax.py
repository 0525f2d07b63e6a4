"""Reading a query: luqum's parser, kept to what Lucene's own parser would understand.

luqum takes some texts that Lucene reads otherwise (`a - b`, `foo"bar"`, `x/y/z`). Those are errors with their column
here: a query must never mean one thing in Kibana and another in the local store.
"""

import contextlib
import io
import re
import threading
from collections.abc import Iterator
from typing import Any, Final

from luqum import tree
from luqum.exceptions import IllegalCharacterError, ParseError
from luqum.head_tail import TokenValue

from collector.errors import QueryError

# On Python 3.13 its tables are made anew, where they cannot be kept at each start, with a page of warnings.
with contextlib.redirect_stderr(io.StringIO()):
    from luqum.parser import lexer, parser

QUERY_LIMIT: Final = 16_384
"""Characters of a query."""

DEPTH_LIMIT: Final = 50
"""Parentheses within parentheses."""

NAMED_TERMS: Final = {"&&": "AND_OP", "||": "OR_OP"}

_skipped = re.compile(r'\\.|"(?:[^"\\]|\\.)*"|(?P<found>.)', re.DOTALL)
_escape = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_bare_quote_or_slash = re.compile(r'\\.|(?P<found>["/!])', re.DOTALL)
_degree = re.compile(r"[\d.]+")
_number = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_place = re.compile(r"position (\d+)")
_parsing = threading.Lock()
"""luqum's lexer is one for the process and has state."""


def parse(query: str) -> tree.Item | None:
    """Return the query's tree, None for an empty one; raise QueryError."""
    if len(query) > QUERY_LIMIT:
        raise QueryError(f"longer than {QUERY_LIMIT} characters")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise QueryError("is not UTF-8", error.start + 1) from error
    if not query.strip():
        return None
    checked = _checked(query)
    with _parsing:
        try:
            root: tree.Item = parser.parse(checked, lexer=lexer, tokenfunc=_next_token)
        except ParseError as error:
            found = _place.search(str(error))
            if found is None:
                raise QueryError("ends too early: a bracket is not closed, or a term is missing", len(query)) from error
            column = int(found[1]) + 1
            if isinstance(error, IllegalCharacterError) and checked[column - 1 : column] == '"':
                raise QueryError("this quote is never closed", column) from error
            raise QueryError("cannot be read from here: quote or escape what is meant literally", column) from error
    return root


def named_fields(node: tree.Item | None) -> set[str]:
    """Return the names of all fields that a query asks for."""
    if node is None:
        return set()
    own = {unescaped(node.name, node)} if isinstance(node, tree.SearchField) else set()
    return own.union(*(named_fields(child) for child in node.children))


def column_of(node: tree.Item) -> int | None:
    """Return the column of a node."""
    at = getattr(node, "pos", None)
    return at + 1 if at is not None else None


def unescaped(text: str, node: tree.Item) -> str:
    """Return the text with Lucene's escapes resolved: a backslash before a character, or before u and four digits."""
    return "".join(character for character, _ in characters(text, node))


def characters(text: str, node: tree.Item) -> Iterator[tuple[str, bool]]:
    """Yield each character and whether it was written without an escape."""
    at = 0
    while at < len(text):
        found = _escape.match(text, at)
        if found is None:
            yield text[at], True
            at += 1
            continue
        if found[2] == "u":
            raise QueryError("\\u takes four hexadecimal digits", column_of(node))
        character = chr(int(found[1], 16)) if found[1] else found[2]
        if "\ud800" <= character <= "\udfff":
            raise QueryError("\\u cannot name half of a surrogate pair: write the character itself", column_of(node))
        yield character, False
        at = found.end()


def refuse_ambiguous(node: tree.Word | tree.Phrase, *, slash_is_text: bool) -> None:
    """Raise QueryError for what Lucene would take apart; in dates and addresses a slash cannot be misread."""
    if isinstance(node, tree.Phrase):
        return
    for found in _bare_quote_or_slash.finditer(node.value):
        if found["found"] and not (slash_is_text and found["found"] == "/"):
            hint = " (it begins a regular expression)" if found["found"] == "/" else ""
            column = node.pos + found.start() + 1 if node.pos is not None else None
            raise QueryError(f"write \\{found['found']} within a word{hint}, or quote the whole", column)


def _checked(query: str) -> str:
    """Return the query with `!` written as `-`, which means the same to Lucene; refuse what luqum reads otherwise."""
    made = list(query)
    depth = 0
    for found in _skipped.finditer(query):
        character, at = found["found"], found.start()
        before, after = query[at - 1 : at], query[at + 1 : at + 2]
        if not character:
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth > DEPTH_LIMIT:
            raise QueryError(f"nested deeper than {DEPTH_LIMIT}", at + 1)
        if character.isspace() and character not in " \t\r\n\u3000":
            raise QueryError("write an ordinary space, or quote or escape this one", at + 1)
        degree = _degree.match(query, at + 1)
        if character in "~^" and degree is not None and not _number.fullmatch(degree[0]):
            raise QueryError(f"{character} takes a number", at + 1)
        starts = not before or before in ' \t\r\n\u3000()"[]{}+-!'
        if character == "!" and before != ":":
            if not starts:
                raise QueryError("write \\! within a word, or a space before it", at + 1)
            made[at] = character = "-"
        if character in "+-" and starts:
            if not after or after.isspace():
                raise QueryError(f"write {query[at]} right before what it is for, or escape it", at + 1)
            if after in "+-!":
                raise QueryError("one operator at a time: use parentheses", at + 1)
    return "".join(made)


def _next_token() -> Any:
    """Return luqum's next token, `&&` and `||` as the operators they are to Lucene."""
    token = lexer.token()
    if token is not None and token.type == "TERM" and str(token.value) in NAMED_TERMS:
        token.type = NAMED_TERMS[str(token.value)]
        value = TokenValue(str(token.value))
        value.pos, value.size = token.value.pos, token.value.size
        value.head, value.tail = token.value.head, token.value.tail
        token.value = value
    return token
