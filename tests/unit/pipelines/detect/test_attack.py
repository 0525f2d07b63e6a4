"""What rules say of MITRE ATT&CK by their tags is what ECS has fields for."""

from pipelines.detect.attack import TACTICS, threat_of

SITE = "https://attack.mitre.org"


def test_tactics_and_techniques_stand_with_their_ids_and_pages() -> None:
    """A sub-technique with its technique; each once, in the order of the tags."""
    tags = ("attack.defense-impairment", "attack.t1059.004", "attack.t1059.006", "attack.T1685", "attack.execution")

    assert threat_of(tags) == {
        "framework": "MITRE ATT&CK",
        "tactic": {
            "id": ["TA0112", "TA0002"],
            "name": ["Defense Impairment", "Execution"],
            "reference": [f"{SITE}/tactics/TA0112/", f"{SITE}/tactics/TA0002/"],
        },
        "technique": {
            "id": ["T1059", "T1685"],
            "reference": [f"{SITE}/techniques/T1059/", f"{SITE}/techniques/T1685/"],
            "subtechnique": {
                "id": ["T1059.004", "T1059.006"],
                "reference": [f"{SITE}/techniques/T1059/004/", f"{SITE}/techniques/T1059/006/"],
            },
        },
    }


def test_words_with_underscores_are_tactics_too() -> None:
    """Rules of before 2024 write them so; each tactic has an id."""
    assert threat_of(["attack.command_and_control"])["tactic"]["id"] == ["TA0011"]
    assert all(identifier.startswith("TA0") for identifier, _ in TACTICS.values())


def test_what_is_no_tactic_or_technique_of_attack_is_left_out() -> None:
    """Groups, software, other frameworks, and words that nobody knows."""
    assert (
        threat_of(["attack.g0016", "attack.s0002", "cve.2026-1", "attack.t1", "attack.luck", "detection.t1059"]) == {}
    )
