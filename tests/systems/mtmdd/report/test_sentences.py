from systems.mtmdd.report.sentences import seeds_sentence


def test_one_seed_says_that_it_has_no_spread() -> None:
    assert seeds_sentence([3]).endswith("(seed 3), so there is no spread over seeds")
    assert "2 seeds (0, 4: split, initialisation and batches), ±" in seeds_sentence([0, 4])
