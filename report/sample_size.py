"""The sample that would decide an open claim, if the difference is as large as it is seen.

The parts of a difference's variance (`report.intervals.variances`) change with the sample in known ways, so that the
power of the interval's own test can be computed for other numbers of seeds and of test images, by the noncentral t
distribution. The difference itself is the least certain of the estimates: if the true one is half of that seen, about
four times the sample is needed. docs/verdicts.md has how often the numbers are right.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy import special

from report.intervals import FEW, Estimate, Signs

POWER = 0.8
MOST_SEEDS = 100  # more seeds are the answer up to here, because they need no new images
SEEDS_WITH_IMAGES = 30  # at most so many seeds go with more test images
MOST_TIMES = 10  # more images than so many times the present ones are out of reach
PRECISION = 1e-6  # of a detectable distance, relative


class Sample(NamedTuple):
    """What would decide a claim with a power of 80 %.

    Attributes:
        seeds: number of seeds; None if no sample within reach is enough.
        times: how many times the present test images go with them; None as `seeds`.
        detectable: the smallest distance from 0, or from the claim's limit, that the present sample decides with this
            power, in the unit of the difference; None if no image differs at all.
    """

    seeds: int | None
    times: int | None
    detectable: float | None


def variance_of(estimate: Estimate, seeds: int, times: float = 1.0) -> float:
    """Return the expected variance of the mean over `seeds` seeds with `times` the test images.

    With S seeds, c the covariance of two seeds' means (they share images), W the variance of one seed's mean over the
    choice of its images, and A the variance of the trainings' luck, the parts of the variance have the expectations

    - seeds = (A + W - c) / S
    - shared = c
    - units = (W - c) / S + c

    c doesn't depend on S, and W and c are divided by k if there are k times the images. So the variance over S' seeds
    is A / S' + ((W - c) / S' + c) / k. A is 0 if `seeds` is smaller than W - c explains; then the variance is that over
    images alone, below which no interval is.

    Args:
        estimate: its variances, over several seeds.
        seeds: S', at least 1.
        times: k, above 0.
    """
    of_images = estimate.num_seeds * max(0.0, estimate.units - estimate.shared)
    luck = max(0.0, estimate.num_seeds * estimate.seeds - of_images)
    return luck / seeds + (of_images / seeds + estimate.shared) / times


def power(estimate: Estimate, distance: float, level: float, seeds: int, times: float = 1.0) -> float:
    """Return the probability of a verdict in the right direction.

    It is P(T > t) for T of the noncentral t distribution with noncentrality distance / sqrt(variance) and t the
    quantile 1 - level / 2 of Student's t. The degrees of freedom are the estimate's, and one for each further seed:
    a moderated estimate's weight of all runs stays as it is. The exact test of few signs isn't included.

    Args:
        estimate: its variances and degrees, over several seeds.
        distance: the true difference's distance from the hypothesis, above 0.
        level: of the two-sided test, in (0, 1).
        seeds: number of seeds, at least 2.
        times: how many times the present test images.

    Reference:
        Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd edition, 1988, section 2.5.
    """
    variance = variance_of(estimate, seeds, times)
    if variance == 0:
        return 1.0
    degrees = estimate.degrees + seeds - estimate.num_seeds
    quantile = float(special.stdtrit(degrees, 1 - level / 2))
    noncentrality = distance / math.sqrt(variance)
    missed = float(special.nctdtr(degrees, noncentrality, quantile))
    # SciPy returns nan for some noncentralities far above the quantile, where nothing is missed
    return float(noncentrality > quantile) if math.isnan(missed) else 1 - missed


def deciding_sample(estimate: Estimate, level: float, limit: float = 0.0) -> Sample:
    """Return the smallest sample that decides between a difference as large as seen and `limit`.

    More seeds are the answer if 100 are enough. Otherwise it is the smallest multiple of the test images with which 30
    seeds are enough, and then the smallest number of seeds. No sample is smaller than the present one. Where few images
    differ, their exact test needs more images that differ, in the proportion of signs that is seen.

    Args:
        estimate: a difference over several seeds.
        level: of the two-sided test, after the correction for the number of claims.
        limit: the hypothesis.
    """
    distance = abs(estimate.mean - limit)
    smallest = detectable(estimate, level)
    first = 1 if estimate.signs is None else _times_for_signs(estimate.signs, level, limit, estimate.mean > limit)
    if distance == 0:
        return Sample(None, None, smallest)

    def is_enough(seeds: int, times: int) -> bool:
        return power(estimate, distance, level, seeds, times) >= POWER

    present = estimate.num_seeds
    most = max(MOST_SEEDS, present)
    if first == 1 and is_enough(most, 1):
        return Sample(_smallest(present, most, lambda seeds: is_enough(seeds, 1)), 1, smallest)
    most = max(SEEDS_WITH_IMAGES, present)
    if not is_enough(most, MOST_TIMES):
        return Sample(None, None, smallest)
    times = _smallest(first, MOST_TIMES, lambda times: is_enough(most, times))
    return Sample(_smallest(present, most, lambda seeds: is_enough(seeds, times)), times, smallest)


def detectable(estimate: Estimate, level: float) -> float | None:
    """Return the smallest distance from the hypothesis that the present sample decides with a power of 80 %.

    Where few images differ it is at least that of so many images of one sign that their exact test is below the level.
    None if no image differs: then nothing is known about how much the two differ from image to image.
    """
    signs = estimate.signs
    if signs is not None and signs.above + signs.below == 0:
        return None
    low, high = 0.0, math.sqrt(variance_of(estimate, estimate.num_seeds))
    while power(estimate, high, level, estimate.num_seeds) < POWER:
        low, high = high, 2 * high
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        if power(estimate, middle, level, estimate.num_seeds) < POWER:
            low = middle
        else:
            high = middle
    if signs is None:
        return high
    enough = min(FEW, math.floor(math.log2(2 / level)) + 1)  # the smallest n with 2 * 0.5^n < level
    return max(high, enough * signs.scale / (signs.above + signs.below))


def _times_for_signs(signs: Signs, level: float, limit: float, is_above: bool) -> int:
    """Return the smallest multiple of the images that differ which their exact test needs, or no longer applies to."""
    number = signs.above + signs.below
    times = 1
    while number and times * number < FEW:
        counts = range(times * number + 1)
        tests = [signs._replace(above=above, below=times * number - above) for above in counts]
        found = [above for above in counts if tests[above].p_value(limit, is_above) < level]
        if sum(_binomial(above, times * number, signs.above / number) for above in found) >= POWER:
            break
        times += 1
    return times


def _binomial(successes: int, number: int, share: float) -> float:
    return math.comb(number, successes) * share**successes * (1 - share) ** (number - successes)


def _smallest(low: int, high: int, is_enough: Callable[[int], bool]) -> int:
    """Return the smallest number from low to high that is enough; `high` is, and so is what is above one that is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low
