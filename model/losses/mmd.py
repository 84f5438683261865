"""The maximum mean discrepancy with several Gaussian kernels, which measures how two samples' distributions differ."""

from dataclasses import dataclass

import torch
from torch import Tensor

from base.console import UserError

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # bandwidths, times the median distance


@dataclass(frozen=True)
class MultiKernelMMD:
    r"""The unbiased quadratic-time estimator (U-statistic) of MMD^2 between two samples.

    mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean over i, j of k(x_i, y_j)

    with k(x, y) = mean over f of exp(-||x - y||^2 / (f d)), f in `factors`. d is the median of ||a - b||^2 over all
    pairs of distinct rows of both samples together, so the result doesn't depend on their order; no gradient flows
    through d. The expectation is 0 if both samples come from one distribution, so a value may be negative: for two
    copies of one sample it is, because only k(x_i, y_i) = 1 is not left out. The samples may have different sizes.

    Attributes:
        factors: of the bandwidths; 1 / kernels is the weight of each.

    Reference: Gretton et al., "A kernel two-sample test" (2012), eq. 3 (MMD_u^2); Long et al., "Learning transferable
    features with deep adaptation networks" (2015), whose linear-time estimator has a larger variance, and which learns
    the kernels' weights; five kernels with factors of 2 and equal weights are those of its released code.
    """

    factors: tuple[float, ...] = FACTORS

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the estimate, a scalar.

        Shape:
            one: (n, D); other: (m, D)

        Raises:
            UserError: a sample has fewer than two rows.
        """
        n, m = len(one), len(other)
        if min(n, m) < 2:
            raise UserError(
                f"MMD compares samples of at least 2 images, found {n} and {m}; raise train.batch_size, or lower"
                " train.accumulation"
            )
        pooled = torch.cat([one, other]).float()
        squared = squared_distances(pooled)
        different = ~torch.eye(n + m, dtype=torch.bool, device=pooled.device)
        median = squared.detach()[different].median()
        scale = torch.where(median > 0, median, torch.ones_like(median))
        kernel = torch.stack([torch.exp(-squared / (factor * scale)) for factor in self.factors]).mean(dim=0)
        kernel = kernel * different  # the diagonal is left out
        within_one, within_other = kernel[:n, :n].sum() / (n * (n - 1)), kernel[n:, n:].sum() / (m * (m - 1))
        return within_one + within_other - 2 * kernel[:n, n:].mean()


def squared_distances(rows: Tensor) -> Tensor:
    """Return the squared distance of each pair of rows; 0 at least, in spite of rounding.

    The rows are centred first, because the distances of far away rows would lose their last digits.

    Shape:
        rows: (n, D); result: (n, n)
    """
    centred = rows - rows.detach().mean(dim=0)
    norms = centred.square().sum(dim=1)
    return (norms[:, None] + norms[None, :] - 2 * centred @ centred.T).clamp(min=0)
