"""The parameters of a plain classifier (`model.classification`), which can be read without importing torch."""

from pydantic import Field

from model.nets.params import BackboneParams
from model.training import params as training


class ClassifierParams(BackboneParams):
    """Parameters of a ConvNet with a layer for categories."""

    dropout: float = Field(description="share of N(phi) dropped before the last layer in training", ge=0, lt=1)


class TrainParams(training.TrainParams):
    """Training parameters of a classifier."""

    recogniser_multiplier: float = Field(description="times learning_rate: peak of the last layer", gt=0)
