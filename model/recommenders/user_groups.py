"""Recommendations from groups of users with similar histories: a random walk from the user's own and neighbours' tags.

After Rajiv Ratn Shah et al., "PROMPT: Personalized User Tag Recommendation for Social Media Photos Leveraging Personal
and Social Contexts", ISM 2016: users are grouped by their tag vectors, within a group P(t | s) = n_st / n_s is the
share of posts with the tag s that also have t, visual neighbours vote, and a random walk with restart over P joins
both. Decisions of ours: groups by k-means of the histories scaled to length 1; P's rows are divided by their sums, as
a walk needs; the restart vector is the mean of the user's own shares and the votes of the nearest images of the group
by cosine (where a part is empty, the other alone).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from base.seeding import derive_seed
from model.recommenders.counts import own


@dataclass(frozen=True)
class GroupParams:
    """The parameters of the walk.

    Attributes:
        groups: number of groups of users.
        neighbours: images that vote.
        restart: probability of going back to the restart vector, in (0, 1].
        steps: of the walk.
    """

    groups: int
    neighbours: int
    restart: float
    steps: int


@dataclass(frozen=True)
class UserGroups:
    """Groups of users, with the training posts of each.

    Attributes:
        params: of the walk.
        means: of the groups: float64 (G, N), of histories scaled to length 1.
        transitions: for each group P(t | s), float64 (N, N), rows s, each with the sum 1 or 0.
        posts: for each group the numbers of its training posts.
        x: features of all training posts, scaled to length 1: (n, D); None: no images vote.
        tags: of all training posts: bool CSR (n, N).
    """

    params: GroupParams
    means: np.ndarray
    transitions: list[np.ndarray]
    posts: list[np.ndarray]
    x: np.ndarray | None
    tags: sparse.csr_array

    def groups_of(self, histories: np.ndarray | sparse.csr_array) -> np.ndarray:
        """Return the nearest group of each history (B, N); of equally near ones, the first."""
        scaled = normalize(histories)
        return np.asarray(((self.means**2).sum(axis=1) - 2 * scaled @ self.means.T).argmin(axis=1))

    def scores(self, histories: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """Return where the walk is after its last step.

        Args:
            histories: users' counts.
            x: features of the images; None: no images vote.

        Shape:
            histories: (B, N); x: (B, D); result: float64 (B, N)
        """
        found = np.zeros(histories.shape)
        mine = own(histories)
        for group in np.unique(groups := self.groups_of(histories)):
            rows = np.flatnonzero(groups == group)
            start = _joined(mine[rows], self._votes(int(group), None if x is None else x[rows]))
            place = start
            for _ in range(self.params.steps):
                place = self.params.restart * start + (1 - self.params.restart) * place @ self.transitions[group]
            found[rows] = place
        return found

    def _votes(self, group: int, x: np.ndarray | None) -> np.ndarray | None:
        """Return each tag's share of the tags of the nearest training images; None without images."""
        posts = self.posts[group]
        if x is None or self.x is None or not len(posts):
            return None
        number = min(self.params.neighbours, len(posts))
        nearest = np.argsort(-(normalize(x) @ self.x[posts].T), axis=1, kind="stable")[:, :number]
        counted = np.stack([self.tags[posts[places]].sum(axis=0) for places in nearest]).astype(np.float64)
        return own(counted)


def _joined(one: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    """Return the mean of two restart vectors; where one is empty, the other."""
    if other is None:
        return one
    both = one + other
    return both / np.maximum(both.sum(axis=1, keepdims=True), 1e-300)


def fit_groups(
    histories: sparse.csr_array,
    users: np.ndarray,
    tags: sparse.csr_array,
    x: np.ndarray | None,
    params: GroupParams,
    seed: int,
) -> UserGroups:
    """Group users, and count what is given together within each group.

    Args:
        histories: counts of all users with a history.
        users: of each training post, the row of its user in `histories`.
        tags: of the training posts.
        x: their features, or None.
        params: of groups and walk; with fewer users than groups there are as many groups as users.
        seed: of k-means.

    Shape:
        histories: (U, N); users: (n,); tags: bool (n, N); x: (n, D)
    """
    scaled = sparse.csr_array(normalize(histories))
    scaled.indices, scaled.indptr = (part.astype(np.int32) for part in (scaled.indices, scaled.indptr))  # for KMeans
    number = min(params.groups, scaled.shape[0])
    means = KMeans(number, n_init=4, random_state=derive_seed(seed, "user groups") % 2**32).fit(scaled).cluster_centers_
    fitted = UserGroups(params, means, [], [], None if x is None else normalize(x), tags)
    of_users = fitted.groups_of(histories)
    for group in range(number):
        posts = np.flatnonzero(of_users[users] == group)
        mine = tags[posts].astype(np.float64)
        together = (mine.T @ mine).toarray()
        np.fill_diagonal(together, 0)
        fitted.transitions.append(own(together))
        fitted.posts.append(posts)
    return fitted
