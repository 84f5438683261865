"""The claims of the paper, and ours (8 to 10), each about the mean MAP of two runs.

Claim 7, that the MAP settles by the last iteration, is about one run's curve and has no paired difference; the page
states the curve's change instead.
"""

from report.claims import Claim
from systems.dckt.config import BASELINES, BEFORE, FINE_TUNED, FULL
from systems.dckt.report.results import Results, with_pairs

HARDLY = 1.0  # points of MAP that "hardly worse" and "no gain" allow


def claims_of(results: Results) -> list[Claim[str]]:
    """Return the claims about declared runs, for each limit of target pairs; others are left out."""
    found = []
    alphas = sorted({value for point in results.points for name, value in point.changes if name == "alpha"})
    smallest = [alpha for alpha in alphas if alpha < results.alpha][:1]
    for pairs in results.levels:
        plain = [
            *(Claim("1", f"{FULL} > {name}", FULL, name) for name in BASELINES),
            Claim("2", f"{FULL} > the target network before the transfer", FULL, BEFORE),
            *(Claim("3", f"both levels > {level} level alone", FULL, level) for level in ("media", "correlation")),
            Claim("4", "progressive selection > all pairs", FULL, "all"),
            Claim("4", "all pairs > random pairs", "all", "random"),
            Claim("5", f"without shared categories at most {HARDLY:g} point worse", FULL, "no_shared", HARDLY),
            *(Claim("6", f"alpha {results.alpha:g} > {alpha:g}", FULL, f"alpha={alpha}") for alpha in smallest),
            Claim("6", f"alpha 1 at most as good as {results.alpha:g}", "alpha=1.0", FULL, 0.0),
            Claim("8", f"shuffled source texts gain at most {HARDLY:g} point", "texts_shuffled", BEFORE, HARDLY),
            Claim("9", f"{FULL} > the same training without MMD", FULL, "no_mmd"),
            Claim("10", f"{FULL} > the target network started from the source's", FULL, FINE_TUNED),
        ]
        names = with_pairs([*{run for claim in plain for run in (claim.better, claim.worse)}], pairs)
        limit = "" if pairs is None else f"{pairs} pairs a category: "
        found += [
            claim._replace(says=limit + claim.says, better=names[claim.better], worse=names[claim.worse])
            for claim in plain
        ]
    return [claim for claim in found if {claim.better, claim.worse} <= set(results.runs)]
