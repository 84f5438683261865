from systems.tagging.claims import Measured, claims_of


def test_claims_are_about_declared_runs() -> None:
    found = claims_of(["A1", "A6", "A6_delta=0.1", "A6_history=whole"], ["own", "user_groups"], "user_groups")
    pairs = {(claim.number, claim.better.label, claim.worse.label) for claim in found}
    assert pairs == {
        ("5", "A6", "A6, empty histories"),
        ("5", "A6, empty histories", "A1"),
        ("9", "A6, others' histories", "A6, empty histories"),
        ("9", "A6", "A6, others' histories"),
        ("6", "A6_delta=0.1", "A6"),
        ("leak", "A6", "A6_history=whole"),
        ("10", "A6", "own"),
        ("best", "A6", "user_groups"),
    }
    assert [claim.at_most for claim in found if claim.better == Measured("A6", "shuffled_")] == [1.0]


def test_the_users_own_tags_are_not_claimed_twice() -> None:
    assert [claim.number for claim in claims_of(["A6"], ["own"], "own") if claim.worse.name == "own"] == ["10"]
    found = claims_of(["A6", "A6_direct=history"], ["own"], "own")
    assert {claim.better.name for claim in found if claim.number == "best"} == {"A6_direct=history"}
    assert claims_of([], [], None) == []
