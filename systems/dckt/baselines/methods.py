"""The comparison methods by name."""

from collections.abc import Callable, Mapping

import numpy as np

from base.console import UserError
from systems.dckt.baselines.acmr import fit_acmr
from systems.dckt.baselines.config import BaselineParams
from systems.dckt.baselines.corr_ae import fit_corr_ae
from systems.dckt.baselines.deep_sm import fit_deep_sm
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.jrl import fit_jrl
from systems.dckt.baselines.kernels import fit_kcca
from systems.dckt.baselines.linear import fit_cca, fit_cfa
from systems.dckt.baselines.two_tower import fit_two_tower
from systems.dckt.features import Views

Fit = Callable[[BaselineParams, Views, Views, int], Fitted]

METHODS: Mapping[str, Fit] = {
    "CCA": lambda params, *data: fit_cca(params.cca, *data),
    "KCCA": lambda params, *data: fit_kcca(params.kcca, *data),
    "CFA": lambda params, *data: fit_cfa(params.cfa, *data),
    "JRL": lambda params, *data: fit_jrl(params.jrl, *data),
    "Corr-AE": lambda params, *data: fit_corr_ae(params.corr_ae, params.networks, *data),
    "Deep-SM": lambda params, *data: fit_deep_sm(params.networks, *data),
    "ACMR": lambda params, *data: fit_acmr(params.acmr, params.networks, *data),
    "two-tower": lambda params, *data: fit_two_tower(params.two_tower, params.networks, *data),
}


def fit(name: str, params: BaselineParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit a method on training pairs; the validation pairs choose its candidates.

    Args:
        name: one of `METHODS`.
        params: of all methods.
        train, validation: the pairs; the numbers of categories agree.
        seed: of the run.

    Raises:
        UserError: there are too few pairs, or all pairs have the same features.
    """
    for split, views in (("training", train), ("validation", validation)):
        if len(views.category) < 2:
            raise UserError(f"{len(views.category)} {split} pairs; a method needs two or more: change the splits")
    for medium, features in (("images", train.images), ("texts", train.texts)):
        if not np.ptp(features, axis=0).any():
            raise UserError(f"all training {medium} have the same features; look at the stages that compute them")
    return METHODS[name](params, train, validation, seed)
