"""MITRE ATT&CK as rules name it in their tags (`attack.t1059.004`, `attack.execution`), as ECS says it (`threat.*`).

Tactics are those of ATT&CK 19, which calls Defense Evasion Stealth and has Defense Impairment apart, and of the Sigma
specification's appendix on tags, which knows the name before that. Of techniques an alert
gives the ids, and the pages that have their names.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

FRAMEWORK: Final = "MITRE ATT&CK"

_SITE: Final = "https://attack.mitre.org"

TACTICS: Final = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "stealth": ("TA0005", "Stealth"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "defense-impairment": ("TA0112", "Defense Impairment"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "command-and-control": ("TA0011", "Command and Control"),
    "impact": ("TA0040", "Impact"),
}
"""Id and name by the tag's word."""

_TECHNIQUE: Final = re.compile(r"t(?P<technique>\d{4})(?:\.(?P<sub>\d{3}))?")


def threat_of(tags: Iterable[str]) -> dict[str, Any]:
    """Return what `threat` says of a rule with these tags; empty where none is of ATT&CK.

    Groups, software and what else a tag may name is left out, and so is a word that no tactic has.
    """
    tactics: dict[str, str] = {}
    techniques: dict[str, None] = {}
    subs: dict[str, None] = {}
    for tag in tags:
        space, _, word = tag.lower().partition(".")
        if space != "attack":
            continue
        found = _TECHNIQUE.fullmatch(word)
        if found is not None:
            techniques[f"T{found['technique']}"] = None
            if found["sub"]:
                subs[f"T{found['technique']}.{found['sub']}"] = None
        elif (tactic := TACTICS.get(word.replace("_", "-"))) is not None:
            tactics[tactic[0]] = tactic[1]
    threat: dict[str, Any] = {"framework": FRAMEWORK}
    if tactics:
        references = [f"{_SITE}/tactics/{each}/" for each in tactics]
        threat["tactic"] = {"id": list(tactics), "name": list(tactics.values()), "reference": references}
    if techniques:
        technique: dict[str, Any] = {"id": list(techniques), "reference": _techniques(techniques)}
        if subs:
            technique["subtechnique"] = {"id": list(subs), "reference": _techniques(subs)}
        threat["technique"] = technique
    return threat if len(threat) > 1 else {}


def _techniques(ids: Iterable[str]) -> list[str]:
    return [f"{_SITE}/techniques/{each.replace('.', '/')}/" for each in ids]
