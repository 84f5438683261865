"""Evaluate a model of SCDA; the options are those of `systems.mtmdd.evaluate`, which runs this command for it.

python -m systems.mtmdd.baselines.scda_evaluate --model data/mtmdd/models/SCDA/seed-0 ...
"""

from torch import nn

from systems.mtmdd.baselines.scda import build
from systems.mtmdd.config import Phase
from systems.mtmdd.evaluate import main
from systems.mtmdd.predictor import Model


def network_of(phase: Phase, model: Model) -> nn.Module:
    """Return the network of one of the phases with an SVM, which are the last of their domains."""
    return build(model.recipe.network, phase, model.categories)


if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.scda_evaluate", build=network_of)
