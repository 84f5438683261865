"""Section `dckt.features`: the frozen features of images and texts."""

from typing import Literal

from pydantic import Field

from base.params import Params
from model.frozen_features import FrozenParams, Kind
from model.text_features import WordCNNParams


class FeatureParams(Params):
    """The features that all runs start from."""

    images: FrozenParams
    kind: Kind = Field(
        description="of the images' features: mean and maximum of the last map over its positions; map: all of it, as "
        "the paper's pool5; phi: the layer after it"
    )
    texts: Literal["word CNN", "TF-IDF", "word vectors"] = Field(
        description="of the texts: the paper's word CNN, trained on each seed's training texts; TF-IDF weights; or the "
        "mean and maximum of the words' vectors, which no label has made"
    )
    word_cnn: WordCNNParams
