"""Evaluate a model of SF; the options are those of `systems.mtmdd.evaluate`, which runs this command for it.

python -m systems.mtmdd.baselines.sf_evaluate --model data/mtmdd/models/SF/seed-0 ...
"""

from torch import nn

from systems.mtmdd.baselines.sf import build
from systems.mtmdd.config import Phase
from systems.mtmdd.evaluate import main
from systems.mtmdd.network import build_network
from systems.mtmdd.predictor import Model


def network_of(phase: Phase, model: Model) -> nn.Module:
    """Return the network of a fusion, or of the click predictor."""
    if phase.fitted:
        return build(model.recipe, phase, model.categories, model.num_words)
    return build_network(model.recipe.network, phase, model.categories, model.num_words, load_weights=False)


if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.sf_evaluate", build=network_of)
