"""The maximum mean discrepancy with one Gaussian kernel, from all pairs of rows or from random quadruples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from base.console import UserError
from model.losses.mmd import squared_distances


@dataclass(frozen=True)
class GaussianMMD:
    r"""An unbiased estimate of MMD^2 between two samples with k(x, y) = exp(-||x - y||^2 / d).

    d is the mean of ||a - b||^2 over all pairs of distinct rows of both samples together; no gradient flows through it.

    - all pairs: mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean over i, j of k(x_i, y_j)
    - quadruples: mean over random (i, j), i != j, of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i); both
      samples have n rows, and there are n quadruples. torch's generator draws them.

    The expectation of both is the same, 0 if the samples come from one distribution, so a value may be negative.
    Quadruples cost O(n D) after d, and have the larger variance.

    Attributes:
        quadruples: whether the second form is computed.

    Reference: Gretton et al., "A kernel two-sample test" (2012), eq. 3 and section 6; the quadruples are those of the
        MMD layer that DCKT's released code uses.
    """

    quadruples: bool = False

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the estimate, a scalar.

        Shape:
            one: (n, D); other: (m, D), for quadruples with m = n

        Raises:
            UserError: a sample has fewer than two rows.
            ValueError: quadruples of samples of different sizes.
        """
        n, m = len(one), len(other)
        if min(n, m) < 2:
            raise UserError(f"MMD compares samples of at least 2 rows, found {n} and {m}; raise the batch size")
        squared = squared_distances(torch.cat([one, other]).float())
        mean = squared.detach().sum() / ((n + m) * (n + m - 1))
        kernel = torch.exp(-squared / torch.where(mean > 0, mean, torch.ones_like(mean)))
        if self.quadruples:
            if n != m:
                raise ValueError(f"quadruples need samples of one size, found {n} and {m}")
            first = torch.randperm(n).to(kernel.device)
            second = first.roll(1)  # of every row one other, so no row is paired with itself
            within = kernel[first, second] + kernel[n + first, n + second]
            return (within - kernel[first, n + second] - kernel[second, n + first]).mean()
        kernel = kernel - torch.diag_embed(kernel.diagonal())  # the diagonal is left out
        within_one, within_other = kernel[:n, :n].sum() / (n * (n - 1)), kernel[n:, n:].sum() / (m * (m - 1))
        return within_one + within_other - 2 * kernel[:n, n:].mean()
