"""Sigma rules on documents: which rule holds on which document of a batch, for nearly nothing.

    YAML text --load.py--> RuleSet --matcher.py--> Matcher.matches(documents) -> [(document's number, rule)]

- `rule.py`: what a rule is here, and what a loaded set is; `expression.py`: a condition as a tree of plain structs.
- `load.py`: YAML by pySigma becomes a `RuleSet`. Only it and what it needs import pySigma, which is slow to import:
  `documents.py` (YAML with places), `translate.py` (pySigma's conditions), `faults.py` (where it is that it fails);
  `correlations.py` (correlation rules as written), `linked.py` (the rules that they name, across files).
- `sources.py`: which documents a Sigma log source means, and where its fields stand; `tables.py`: those of ours.
- `predicate.py`: whether an expression holds on one document. Plain and slow: the oracle of promise P4.
- `atoms.py`, `clauses.py`, `regex_literals.py`, `frequent.py`: what a document must have for a rule to hold.
- `scan.py`: which literals are in which documents, by Hyperscan or without it; the same either way.
- `matcher.py`: literals, then the predicate on the few documents that are left.

The seam for whoever ships alerts: a `RuleSet` is data alone (`msgspec` encodes it, so it may be cached and loaded
without pySigma); `Matcher(rule_set.rules)` is made once per set and swapped whole between batches; `matches` takes one
`Documents` of a batch as the output gets it (P3), changes nothing, and answers in the documents' order. Values are
compared as `text.py` says: ASCII is folded and nothing else, for that is what the scan can do.
"""
