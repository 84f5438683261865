"""Evaluate a model of RACNN; the options are those of `systems.mtmdd.evaluate`, which runs this command for it.

python -m systems.mtmdd.baselines.racnn_evaluate --model data/mtmdd/models/RACNN/seed-0 ...
"""

from torch import nn

from systems.mtmdd.baselines.racnn import build
from systems.mtmdd.config import Phase
from systems.mtmdd.evaluate import main
from systems.mtmdd.predictor import Model


def network_of(phase: Phase, model: Model) -> nn.Module:
    """Return the network of a phase."""
    return build(model.recipe.network, phase, model.categories, load_weights=False)


if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.racnn_evaluate", build=network_of)
