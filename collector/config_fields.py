"""What is wrong with `fields` and `lookups` beyond their shape: fields that cannot be set, or matched, and networks."""

import ipaddress
from collections.abc import Mapping
from typing import Final

import yaml

from collector.config_nodes import NAME_RULE, Reader, members, name_is_good, quoted
from pipelines.enrich.lookups import TABLES_LIMIT, why_not_matched
from pipelines.enrich.static import LISTS, VALUE_LIMIT, why_not_set

LABEL_LIMIT: Final = 256
"""Characters of a field's name."""


def check_fields(reader: Reader, root: yaml.Node | None) -> None:
    """Note what is wrong with the rules that set fields."""
    rules = members(root).get("fields")
    for place, rule in enumerate(rules.value if isinstance(rules, yaml.SequenceNode) else ()):
        path, given = f"fields[{place}]", members(rule)
        fields = given.get("set")
        if isinstance(fields, yaml.MappingNode) and not fields.value:
            reader.problem(fields, f"{path}.set", "must not be empty: it would set nothing")
        for field, value in members(fields).items():
            _check_field(reader, value, f"{path}.set.{field}", field)
            if isinstance(value, yaml.SequenceNode) and field not in LISTS and not why_not_set(field):
                reader.problem(value, f"{path}.set.{field}", f"is one text; lists are {' and '.join(sorted(LISTS))}")
            texts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if any(isinstance(each, yaml.ScalarNode) and len(each.value) > VALUE_LIMIT for each in texts):
                reader.problem(value, f"{path}.set.{field}", f"has more than {VALUE_LIMIT} characters")
        peer = given.get("peer")
        if isinstance(peer, yaml.ScalarNode) and "/" in peer.value:
            try:
                ipaddress.ip_network(peer.value)
            except ValueError as error:
                reader.problem(peer, f"{path}.peer", str(error).replace("'", ""))


def check_lookups(reader: Reader, root: yaml.Node | None) -> None:
    """Note what is wrong with the tables; their files are another matter."""
    lookups = members(root).get("lookups")
    if len(members(lookups)) > TABLES_LIMIT:
        reader.problem(lookups, "lookups", f"are {len(members(lookups))}, and at most {TABLES_LIMIT} are kept")
    for name, options in members(lookups).items():
        path, given = f"lookups.{name}", members(options)
        if not name_is_good(name):
            reader.problem(options, path, NAME_RULE)
        match, add = given.get("match"), given.get("add")
        if isinstance(match, yaml.ScalarNode) and match.value and (why := why_not_matched(match.value)):
            reader.problem(match, f"{path}.match", f"{quoted(match.value)} {why}")
        if isinstance(add, yaml.MappingNode) and not add.value:
            reader.problem(add, f"{path}.add", "must not be empty: it would set nothing")
        for column, field in _texts(add).items():
            _check_field(reader, field, f"{path}.add.{column}", field.value)


def _check_field(reader: Reader, node: yaml.Node, path: str, field: str) -> None:
    if len(field) > LABEL_LIMIT:
        reader.problem(node, path, f"has a name of more than {LABEL_LIMIT} characters")
    elif field and (why := why_not_set(field)):
        reader.problem(node, path, why)


def _texts(node: yaml.Node | None) -> Mapping[str, yaml.ScalarNode]:
    return {name: value for name, value in members(node).items() if isinstance(value, yaml.ScalarNode)}
