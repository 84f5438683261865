"""End to end: codes of files and sentences are those of the artifacts' features; changed weights are noticed."""

from pathlib import Path

import numpy as np
import pytest
from search_data import FEATURES, SEGMENT, picture

from base.console import UserError
from systems.dckt.encoders import EncoderParams, Encoders, num_batches, weights_digest
from systems.dckt.features import read_features
from systems.dckt.text_features import read_word_vectors
from systems.dckt.trained import TargetModel


def params_of(root: Path, **changes: object) -> EncoderParams:
    params = EncoderParams(
        model=str(root / "model"),
        data=str(root / "data"),
        digest=weights_digest(root / "model", root / "data"),
        segment=SEGMENT,
        features=FEATURES,
    )
    return params.model_copy(update=changes)


def test_codes_of_files_and_sentences_are_those_of_the_features(root: Path, tmp_path: Path) -> None:
    encoders, model, pairs = (
        Encoders(params_of(root)),
        TargetModel(root / "model"),
        read_features(root / "data/target", 0),
    )
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(picture(("red", "green", "blue")[number % 3], number))
    batches = list(encoders.images(files))
    assert len(batches) == num_batches(files, FEATURES) == 2
    found = np.concatenate([codes for _, codes, _ in batches])
    np.testing.assert_allclose(found, model.image_codes(pairs.images[:5]), atol=1e-5)
    codes, has_words = encoders.texts(["A red car.", "A GREEN car", "A blue, car!"])
    np.testing.assert_allclose(codes, model.text_codes(pairs.texts[:3]), atol=1e-5)
    assert has_words.all()


def test_sentences_are_encoded_by_the_vectors_of_their_words(root: Path) -> None:
    chosen = params_of(root).features.model_copy(update={"texts": "word vectors"})
    encode = Encoders(params_of(root, features=chosen)).encode_texts
    vectors = read_word_vectors(root / "data/target/word_vectors.parquet")
    red, car = vectors["red"], vectors["car"]
    found = encode([["red", "car"], ["zzz"]])
    np.testing.assert_allclose(found[0], [*(red + car) / 2, *np.maximum(red, car)], rtol=1e-6)
    assert not found[1].any()


def test_a_text_without_a_known_word_is_said_to_be_one(root: Path) -> None:
    _, has_words = Encoders(params_of(root)).texts(["", "zzz", "zzz blue"])
    assert has_words.tolist() == [False, False, True]


def test_unreadable_files_are_reported_and_the_others_encoded(root: Path, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(picture("red", 3))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    files = [tmp_path / name for name in ("bad.jpg", "gone.jpg", "good.jpg")]
    ((readable, codes, bad),) = Encoders(params_of(root)).images(files)
    assert readable == files[2:]
    assert codes.shape == (1, 3)
    assert set(bad) == set(files[:2])
    assert "cannot decode" in bad[files[0]]


def test_other_weights_than_those_of_the_index(root: Path) -> None:
    with pytest.raises(UserError, match=r"the index was made with abc; make the index again"):
        Encoders(params_of(root, digest="abc"))


def test_a_folder_without_weights(root: Path) -> None:
    with pytest.raises(UserError, match=r"no weights"):
        weights_digest(root / "data", root / "data")
