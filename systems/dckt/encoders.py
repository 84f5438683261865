"""Codes of any images and texts by the target's network of a trained run: from files and sentences, end to end."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch

from base.artifacts import read_tables
from base.console import UserError
from base.inputs import check_file
from base.params import Params
from model.folder import files_digest
from model.frozen_features import features_of, frozen_net, image_pixels
from model.nets.backbones import ConvNet
from model.text_encoders import TfidfEncoder, VectorEncoder, WordCNNEncoder
from pipelines.words.segmentation import Segmenter, SegmentParams
from systems.dckt.config import TARGET
from systems.dckt.feature_params import FeatureParams
from systems.dckt.text_features import read_word_vectors, vector_encoder
from systems.dckt.trained import TargetModel


class EncoderParams(Params):
    """What codes depend on; an index remembers it, so that a search encodes in the same way.

    The paths are as they were given to the index; `digest` is that of the weights' files.
    """

    model: str
    data: str
    digest: str
    segment: SegmentParams
    features: FeatureParams


class Encoders:
    """The encoders of a run.

    Args:
        params: what codes depend on.

    Attributes:
        params: the same.

    Raises:
        UserError: a file is missing or of another kind, or the weights are not those of `params.digest`.
    """

    def __init__(self, params: EncoderParams) -> None:
        self.params = params
        if (found := weights_digest(Path(params.model), Path(params.data))) != params.digest:
            raise UserError(
                f"{params.model}: its weights have the digest {found}; the index was made with {params.digest}; "
                "make the index again"
            )
        self.model = TargetModel(Path(params.model))
        self.model.limit_threads()
        self.segmenter = Segmenter(params.segment)
        target, seed = Path(params.data) / TARGET, int(self.model.run["seed"])
        self.encode_texts: WordCNNEncoder | TfidfEncoder | VectorEncoder
        if params.features.texts == "TF-IDF":
            vocabulary = pl.DataFrame(read_tables(target / "words" / "vocabulary.parquet")).sort("word_id")
            self.encode_texts = TfidfEncoder(vocabulary["word"].to_list(), vocabulary["idf"].to_numpy())
        elif params.features.texts == "word vectors":
            self.encode_texts = vector_encoder(read_word_vectors(target / "word_vectors.parquet"))
        else:
            self.encode_texts = WordCNNEncoder.load(target / "text_features" / f"seed-{seed}.safetensors")

    @cached_property
    def frozen(self) -> tuple[ConvNet, torch.device]:
        """The frozen ConvNet; it is only built if there are images to encode."""
        return frozen_net(self.params.features.images)

    def texts(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of texts, and which of them have a word that the encoder knows.

        Shape:
            result: float32 (n, C); bool (n,)
        """
        words = self.segmenter(pa.array(texts, pa.string())).to_pylist()
        known = set(self.encode_texts.words)
        has_words = np.array([any(word in known for word in each) for each in words], bool)
        return self.model.text_codes(self.encode_texts(words)), has_words

    def images(self, files: Sequence[Path]) -> Iterator[tuple[list[Path], np.ndarray, dict[Path, str]]]:
        """Yield batches of readable image files, their codes, and why others of the batch can't be read.

        Shape:
            codes: float32 (readable files, C)
        """
        params = self.params.features.images
        net, device = self.frozen
        for start in range(0, len(files), params.batch_size):
            readable, squares, bad = [], [], {}
            for path in files[start : start + params.batch_size]:
                try:
                    check_file(path)
                    squares.append(image_pixels(path.read_bytes(), params))
                    readable.append(path)
                except (UserError, OSError) as error:
                    bad[path] = str(error)
            codes = np.empty((0, len(self.model.categories)), np.float32)
            if readable:
                with torch.inference_mode():
                    visual = net(torch.from_numpy(np.stack(squares)).to(device))
                    features = features_of(visual, self.params.features.kind).cpu().numpy()
                codes = self.model.image_codes(features)
            yield readable, codes, bad


def num_batches(files: Sequence[Path], params: FeatureParams) -> int:
    """Return the number of batches that :meth:`Encoders.images` yields."""
    return math.ceil(len(files) / params.images.batch_size)


def weights_digest(model: Path, data: Path) -> str:
    """Return the digest of a model folder's weights and of the target's text encoders.

    Raises:
        UserError: the model folder has no weights.
    """
    weights = sorted(model.glob("*.safetensors"))
    if not weights:
        raise UserError(f"{model}: no weights (*.safetensors); name a model folder of systems.dckt.train")
    return files_digest([*weights, *(data / TARGET / "text_features").glob("*.safetensors")])
