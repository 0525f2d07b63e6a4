"""Tags of rules become what ECS says of a threat."""

from pipelines.detect.attack import threat_of


def test_tactics_of_the_newest_version_are_known() -> None:
    """Published rules say `stealth` and `defense-impairment` where older ones say `defense-evasion`."""
    threat = threat_of(["attack.defense-impairment", "attack.stealth", "attack.t1685"])

    assert (["TA0112", "TA0005"], ["Defense Impairment", "Stealth"]) == (
        threat["tactic"]["id"],
        threat["tactic"]["name"],
    )
    assert ["Defense Evasion"] == threat_of(["attack.defense_evasion"])["tactic"]["name"]
