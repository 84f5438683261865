"""Users differ in habit, activity and spelling, and each user is the same in every run."""

from collections import Counter

import pytest

from base.console import UserError
from pipelines.toy.users import HABIT_SHARES, HABITS, PLAIN, TOPICS, Spelling, activity, draw_user


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (PLAIN, ["red fur", "marsh hound", "棕色"]),
        (Spelling("lower", "", plural=False), ["redfur", "marshhound", "棕色"]),
        (Spelling("title", "", plural=True), ["RedFur", "MarshHounds", "棕色"]),
        (Spelling("upper", "-", plural=True), ["RED-FUR", "MARSH-HOUNDS", "棕色"]),
        (Spelling("title", "_", plural=False), ["Red_Fur", "Marsh_Hound", "棕色"]),
    ],
)
def test_spellings(spelling: Spelling, expected: list[str]) -> None:
    assert [spelling.apply(tag) for tag in ("red fur", "marsh hound", "棕色")] == expected


def test_activity_follows_zipfs_law() -> None:
    numbers = activity(100, 5_000, 3)
    assert numbers == sorted(numbers, reverse=True)
    assert sum(numbers) == pytest.approx(3 * 5_000, rel=0.01)
    assert (numbers[1] - 1) / (numbers[19] - 1) == pytest.approx(10, rel=0.02)  # the second and the twentieth user
    assert numbers[-5:] == [1] * 5
    assert activity(15, 5, 3) == [1] * 15
    assert max(activity(2, 50, 3)) == 50  # a user tags each picture at most once


def test_users_without_work_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"synthesize\.tags: 16 users are too many for 5 images with 3 users each; .* 15 "
    ):
        activity(16, 5, 3)


def test_users_are_drawn_one_by_one_and_by_their_shares() -> None:
    users = [draw_user(7, number) for number in range(600)]
    assert users[5] == draw_user(7, 5) != draw_user(8, 5)
    assert len({user.user_id for user in users}) == 600
    habits = Counter(user.habit for user in users)
    for habit, share in zip(HABITS, HABIT_SHARES, strict=True):
        assert habits[habit] / 600 == pytest.approx(share, abs=0.06)  # standard error 0.017
    for user in users:
        foremost = TOPICS[user.weights.index(max(user.weights))]
        assert sum(user.weights) > 0
        assert foremost == TOPICS[HABITS[user.habit].index(max(HABITS[user.habit]))]
        assert user.prefer(("a", "b", "c"), "letters") == user.prefer(("a", "b", "c"), "letters")
    assert {user.prefer(("a", "b", "c"), "letters") for user in users} == {"a", "b", "c"}
