import numpy as np
import pytest
from scipy import sparse

from model.recommenders.user_groups import GroupParams, fit_groups

# Users 0 and 1 write about tags 0 to 2, users 2 and 3 about tags 3 and 4.
HISTORIES = np.array([[4, 2, 0, 0, 0], [3, 0, 1, 0, 0], [0, 0, 0, 5, 1], [0, 0, 0, 2, 2]])
USERS = np.array([0, 0, 1, 2, 3])
TAGS = sparse.csr_array(
    np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 0]], bool)
)
X = np.array([[1.0, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0, 0, 1], [1, 0, 0.1]])
PARAMS = GroupParams(groups=2, neighbours=2, restart=0.5, steps=1)


def fitted(x=X, **changes):
    params = GroupParams(**{**PARAMS.__dict__, **changes})
    return fit_groups(sparse.csr_array(HISTORIES), USERS, TAGS, x, params, seed=0)


def test_users_with_similar_tags_are_one_group() -> None:
    groups = fitted().groups_of(HISTORIES)
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_a_step_of_the_walk_by_hand() -> None:
    # in the first group tag 0 is given twice with another tag, once with 1 and once with 2
    [scores] = fitted().scores(np.array([[2, 0, 0, 0, 0]]))
    start = np.array([1.0, 0, 0, 0, 0])
    assert scores == pytest.approx(0.5 * start + 0.5 * np.array([0, 0.5, 0.5, 0, 0]))


def test_the_nearest_images_of_the_group_vote() -> None:
    # posts 0 and 2 are nearest within the first group; post 4, which is as near, is another group's
    [scores] = fitted(steps=0).scores(np.array([[1, 0, 0, 0, 0]]), np.array([[2.0, 0, 0]]))
    votes = np.array([2, 1, 1, 0, 0]) / 4
    assert scores == pytest.approx((np.array([1, 0, 0, 0, 0]) + votes) / 2)


def test_a_user_without_a_history_gets_votes_alone() -> None:
    [scores] = fitted(steps=0).scores(np.zeros((1, 5)), np.array([[0.0, 1, 0]]))
    assert scores.sum() == pytest.approx(1)
    [nothing] = fitted(x=None).scores(np.zeros((1, 5)))
    assert nothing.tolist() == [0] * 5


def test_a_walk_keeps_its_mass_where_every_tag_leads_on() -> None:
    scores = fitted(steps=7).scores(HISTORIES)
    assert scores.sum(axis=1) == pytest.approx(1)


def test_fewer_users_than_groups() -> None:
    assert len(fitted(groups=9).means) == 4
