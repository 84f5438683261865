"""Applies a trained run to pictures: the categories by its last phase."""

from pathlib import Path

from model.classification import build_classifier
from model.folder import device_at_hand, load_weights
from model.prediction import RecogniserPredictor, refuse_calibration
from systems.siamese.evaluate import read_model


def load(folder: Path, evaluation: Path | None = None) -> RecogniserPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system.
    """
    refuse_calibration(folder, evaluation)
    recipe, categories, run = read_model(folder)
    classifier = build_classifier(recipe.network, len(categories), load=False)
    load_weights(classifier, folder, run["chosen"][-1]["phase"])
    device = device_at_hand()
    sizes = recipe.network.resize, recipe.network.image_size
    known = classifier.to(device).eval(), categories
    return RecogniserPredictor("siamese", recipe.run, run["seed"], sizes, known, None, device)
