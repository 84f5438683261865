"""The smallest run of the noise filter's classifier, for the test over all systems; its scores are no evaluation."""

import pytest

from model.classification import LabelledImages, classifier_run
from model.classifier_params import ClassifierParams, TrainParams
from model.training.task import Run


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """One fold: the images of the tiny source domain."""
    rows = request.getfixturevalue("tiny_rows").filter(domain="source")
    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields))
    images = LabelledImages.read(request.getfixturevalue("tiny_data").images, rows, 18, cache=True)
    network = ClassifierParams(backbone="plain", weights="none", image_size=16, resize=18, dropout=0.1)
    train = TrainParams.model_validate(params | {"epochs": epochs})
    return classifier_run("tiny", "cleaner", network, train, images, 0, "source")
