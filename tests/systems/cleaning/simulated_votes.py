"""Simulated logs whose truth is known."""

import numpy as np
from click_votes import votes_of


class Simulated:
    """A log with known truth: Dirichlet-multinomial clicks by a known confusion matrix, and calibrated probabilities.

    Attributes:
        sharpness: of the classifier; its reported probabilities are raised to `overconfidence`, and scaled to 1.
    """

    def __init__(self, num: int, c: int, seed: int, clicks: float = 6.0, s: float = 3.0, overconfidence: float = 2.0):
        random = np.random.default_rng(seed)
        own = random.uniform(0.35, 0.9, c)
        attractive = random.dirichlet(np.full(c, 0.5))
        confusion = np.tile(attractive, (c, 1)) * (1 - np.eye(c)) + 1e-9
        confusion *= ((1 - own) / confusion.sum(axis=1))[:, None]
        self.confusion = confusion * (1 - np.eye(c)) + np.diag(own)
        true_p = random.dirichlet(np.full(c, 0.25), num)
        self.truth = np.array([random.choice(c, p=row) for row in true_p])
        raised = true_p**overconfidence + 1e-12
        self.probabilities = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
        totals = 1 + random.poisson(clicks - 1, num) if clicks > 1 else np.ones(num, int)
        rows = []
        for z, n in zip(self.truth, totals, strict=True):
            p = random.dirichlet(s * self.confusion[z] + 1e-12)
            drawn = random.multinomial(n, p)
            rows.append({int(k): float(drawn[k]) for k in np.flatnonzero(drawn)})
        self.votes = votes_of(rows)
