from click_votes import votes_of


def test_the_majority_is_the_most_clicked_name_and_of_several_the_first() -> None:
    assert votes_of([{0: 1, 2: 5}, {}, {1: 2, 3: 2}, {3: 1}]).majority().tolist() == [2, -1, 1, 3]
