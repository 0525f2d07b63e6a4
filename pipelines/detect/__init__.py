"""Sigma rules on documents: which rule holds on which document of a batch, for nearly nothing.

    YAML text --load.py--> RuleSet --carried.py--> journal --> Matcher.matches(documents) --> alerts in the same batch

- `rule.py`: what a rule is here, and what a loaded set is; `expression.py`: a condition as a tree of plain structs.
- `load.py`: YAML by pySigma becomes a `RuleSet`. Only it and what it needs import pySigma, which is slow to import:
  `documents.py` (YAML with places), `translate.py` (pySigma's conditions), `faults.py` (where it is that it fails);
  `correlations.py` (correlation rules as written), `linked.py` (the rules that they name, across files).
- `sources.py`: which documents a Sigma log source means, and where its fields stand; `tables.py`: those of ours.
- `carried.py`: the set that holds, as a frame of the journal.
- `predicate.py`: whether an expression holds on one document. Plain and slow: the oracle of promise P4.
- `atoms.py`, `clauses.py`, `regex_literals.py`, `frequent.py`: what a document must have for a rule to hold.
- `scan.py`: which literals are in which documents, by Hyperscan or without it; the same either way.
- `matcher.py`: literals, then the predicate on the few documents that are left.
- `ready.py`: matchers made before they are needed.
- `detection.py`: a pipeline's rules: matches of each batch become alerts, as far as `limits.py` lets them.
- `alerts.py`, `titles.py`, `attack.py`: an alert as a document, its sentence, and what it says of MITRE ATT&CK.
- `cases.py`, `case_frames.py`, `trial.py`: a rule's test file, its lines as frames, and what comes of its cases.
- `steps.py`, `told.py`: why a rule holds on a document or does not, condition by condition, for people.

A `RuleSet` is data alone; `Matcher(rules)` is made once per set and swapped whole between frames; `matches` takes one
`Documents` of a batch as the output gets it (P3), changes nothing, and answers in the documents' order. Values are
compared as `text.py` says: ASCII is folded and nothing else, for that is what the scan can do.
"""
