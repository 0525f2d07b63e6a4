"""The YAML documents of a rule file, each with the places of its keys and values.

Read by libyaml and constructed with YAML's safe types only. A key that stands twice is an error: of two conditions on
one field YAML keeps the last, and the rule would fire on what its author left out.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from pipelines.detect.rule import Place, Problem

SIZE_LIMIT: Final = 1 << 20
"""Characters of one file; the longest published rule has a thirtieth."""
DOCUMENTS_LIMIT: Final = 10_000
"""Documents of one file."""
DEPTH_LIMIT: Final = 64
"""Mappings and lists within one another; libyaml's nodes are made by recursion in C, which ends the process."""

MERGE_TAG: Final = "tag:yaml.org,2002:merge"

MERGED_LIMIT: Final = 10_000
"""Keys of the mappings of one document that merge others, with those that they merge."""

FAULTS: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What PyYAML and pySigma raise on values that they do not expect, beside errors of their own."""

Path = Sequence[str | int]


class Document:
    """One document: its content, and where each part of it stands."""

    def __init__(self, file: str, node: yaml.Node, content: Any) -> None:
        self.file = file
        self.content = content
        self._node = node

    def place(self, path: Path = ()) -> Place:
        """Return the place of a key, or of an element of a list; as far as the path goes."""
        node, mark = self._node, self._node.start_mark
        for step in path:
            found = _below(node, step)
            if found is None:
                break
            mark, node = found
        return Place(self.file, mark.line + 1, mark.column + 1)

    def value_place(self, path: Path) -> tuple[Place, bool]:
        """Return the place of a value, and whether it stands there as it is, without quotation marks or folding."""
        node = self._node
        for step in path:
            found = _below(node, step)
            if found is None:
                return self.place(path), False
            _, node = found
        mark = node.start_mark
        plain = isinstance(node, yaml.ScalarNode) and not node.style and mark.line == node.end_mark.line
        return Place(self.file, mark.line + 1, mark.column + 1), plain

    def problem(self, message: str, path: Path = (), *, fatal: bool = True) -> Problem:
        """Return a problem at a place."""
        return Problem(self.place(path), message, fatal)


def _below(node: yaml.Node, step: str | int) -> tuple[Any, yaml.Node] | None:
    """Return the mark of a part of a node, and the part."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key.start_mark, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark, node.value[step]
    return None


def read(file: str, text: str) -> Iterator[Document | Problem]:
    """Yield a file's documents, and what is wrong; behind a mistake of syntax nothing can be read."""
    if len(text) > SIZE_LIMIT:
        yield Problem(Place(file), f"the file has more than {SIZE_LIMIT} characters")
        return
    if (broken := _undecodable(text)) is not None:
        line, column = text.count("\n", 0, broken) + 1, broken - text.rfind("\n", 0, broken)
        yield Problem(Place(file, line, column), "a character here is not valid UTF-8: save the file as UTF-8")
        return
    deep = _too_deep(file, text)
    if deep is not None:
        yield deep
        return
    loader = yaml.CSafeLoader(text)
    try:
        for _ in range(DOCUMENTS_LIMIT):
            if not loader.check_node():
                return
            node = loader.get_node()
            if node is None:
                return
            yield from _constructed(file, node)
        yield Problem(Place(file), f"the file has more than {DOCUMENTS_LIMIT} documents")
    except yaml.MarkedYAMLError as error:
        yield Problem(_marked(file, error), f"no YAML: {_said(error)}")
    except yaml.YAMLError as error:
        yield Problem(Place(file), f"no YAML: {error}")
    finally:
        loader.dispose()


def _undecodable(text: str) -> int | None:
    """Return the place of a lone surrogate, which stands for a byte that was not UTF-8; libyaml cannot take it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _too_deep(file: str, text: str) -> Problem | None:
    """Return a problem where a file is nested too deeply; events are read one after the other, without recursion."""
    depth = 0
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEPTH_LIMIT:
                    mark = event.start_mark
                    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
                    return Problem(place, f"more than {DEPTH_LIMIT} levels deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return None  # Up to there it is read, and the mistake is told then.
    return None


def _constructed(file: str, node: yaml.Node) -> Iterator[Document | Problem]:
    """Yield one document, or why it is none; the file goes on behind it.

    Each has a constructor of its own: what one that failed leaves unfinished would fail the next document.
    """
    try:
        twice = _twice(node)
        if twice is not None:
            mark = twice.start_mark
            yield Problem(Place(file, mark.line + 1, mark.column + 1), f"the key {twice.value!r} stands here twice")
            return
        if _merged(node) > MERGED_LIMIT:
            mark = node.start_mark
            why = f"merges (`<<`) make more than {MERGED_LIMIT} keys of this"
            yield Problem(Place(file, mark.line + 1, mark.column + 1), why)
            return
        content = yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.MarkedYAMLError as error:
        yield Problem(_marked(file, error), f"no YAML: {_said(error)}")
    except FAULTS as error:
        mark = node.start_mark
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        yield Problem(Place(file, mark.line + 1, mark.column + 1), f"a value cannot be read: {why}")
    else:
        if content is not None:
            yield Document(file, node, content)


def _twice(root: yaml.Node) -> yaml.ScalarNode | None:
    """Return a key that stands twice in its mapping."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in names:
                        return key
                    names.add(key.value)
            parts = [value for _, value in node.value]
        else:
            parts = node.value if isinstance(node, yaml.SequenceNode) else []
        for part in parts:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return None


def _merged(root: yaml.Node) -> int:
    """Return how many keys all mappings that merge have with what they merge; RecursionError for too deep ones.

    PyYAML writes merges out, so that a few lines of them may become more than any memory holds.
    """
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = 0  # of one that merges itself
        if isinstance(node, yaml.SequenceNode):
            sizes[id(node)] = sum(map(size_of, node.value))
        elif isinstance(node, yaml.MappingNode):
            merged = sum(size_of(value) for key, value in node.value if key.tag == MERGE_TAG)
            sizes[id(node)] = merged + len(node.value)
        return sizes[id(node)]

    return sum(size_of(node) for node in _nodes(root) if isinstance(node, yaml.MappingNode) and _merges(node))


def _merges(node: yaml.MappingNode) -> bool:
    return any(key.tag == MERGE_TAG for key, _ in node.value)


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield each node once."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        yield node
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        for part in parts:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _marked(file: str, error: yaml.MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)


def _said(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part)
