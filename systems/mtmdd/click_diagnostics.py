"""Measures of a predicted click feature, and sample images."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor

from base import schemas
from base.seeding import derive_seed
from model.data.batches import Draw
from model.folder import device_at_hand
from model.losses.count import l2_normalise
from model.losses.position import standardise
from model.prediction import Scored, largest
from systems.mtmdd.config import Phase
from systems.mtmdd.examples import Examples
from systems.mtmdd.measures import percent
from systems.mtmdd.predictor import Model

TABLE_IV = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)  # the bandwidths B that the paper compares
SAMPLES = 4  # test images of each domain that are rightly recognised, and as many that are not
WORDS = 8  # of a sample's click feature


def percent_within(features: Tensor, bandwidth: float, batch_normalised: bool = True) -> float:
    """Return the share of the sigmoid's inputs that lie in [0, B], percent: Table IV's "Ratio".

    The inputs are the click features, standardised per word over the given images. A word whose feature is the same in
    all images has the input 0 everywhere, which counts as inside.

    Args:
        features: v or v^.
        bandwidth: B, in standard deviations; for raw features in their own unit.
        batch_normalised: False takes the features as they are, as a loss with ``position_input: raw`` does.

    Shape:
        features: (N, K)
    """
    inputs = standardise(features) if batch_normalised else features
    return percent(int(((inputs >= 0) & (inputs <= bandwidth)).sum()), inputs.numel())


def sigmoid_inputs(
    true: Tensor, predicted: Mapping[str, Tensor], bandwidths: Sequence[float], batch_normalised: bool = True
) -> pl.DataFrame:
    """Return the shares of sigmoid inputs in [0, B], a row per bandwidth, the widest first.

    Args:
        true: v of some images.
        predicted: v^ of the same images, by column name.
        bandwidths: values of B, in addition to those of Table IV.
        batch_normalised: as in :func:`percent_within`.

    Returns:
        Columns bandwidth, true_percent, ``<name>_percent`` for each prediction, and normal_percent: the share of a
        standard normal distribution, which the paper's ratios at B = 1 and 0.1 fit.
    """
    widths = sorted({*TABLE_IV, *bandwidths}, reverse=True)
    columns = {"true": true, **predicted}
    shares = {
        f"{name}_percent": [percent_within(features, width, batch_normalised) for width in widths]
        for name, features in columns.items()
    }
    normal = torch.special.ndtr(torch.tensor(widths, dtype=torch.float64)) - 0.5
    return pl.DataFrame({"bandwidth": widths, **shares, "normal_percent": (100 * normal).round(decimals=4).tolist()})


def choose_samples(rows: pl.DataFrame, eligible: Sequence[bool], number: int, seed: int) -> list[int]:
    """Return the row numbers of eligible sample images, ascending.

    No category gets a second sample before every category has one.

    Args:
        rows: columns image_id and category.
        eligible: whether a row may be chosen.
        number: number of samples; fewer if there are not enough eligible images.
        seed: of the choice.
    """
    in_order = (
        rows.select("image_id", "category")
        .with_row_index("row")
        .filter(pl.Series(eligible, dtype=pl.Boolean))
        .with_columns(
            by_image=pl.col("image_id").map_elements(lambda i: derive_seed(seed, "sample", i), pl.UInt64),
            by_category=pl.col("category").map_elements(lambda c: derive_seed(seed, "category", c), pl.UInt64),
        )
        .with_columns(turn=pl.col("by_image").rank("ordinal").over("category"))
        .sort("turn", "by_category")
    )
    return sorted(in_order["row"].head(number).to_list())


def sample_table(
    rows: pl.DataFrame, words: Sequence[str], true: Tensor, predicted: Mapping[str, Tensor], num_words: int
) -> pl.DataFrame:
    """Return true and predicted click features of sample images (Fig. 10), a row per image and word.

    The words of an image are those in which the true or a predicted feature is largest. The paper draws 20 words at
    random; but an image has clicks for hardly any of 1,000 words.

    Args:
        rows: columns image_id and category, of the samples.
        words: the vocabulary, by word id.
        true: v of the samples.
        predicted: v^ of the samples, by column name.
        num_words: number of words per image.

    Returns:
        Columns image_id, category, word, true and one per prediction, all l2-normalised. Images are in the order of
        `rows`, words by the true value, then by the predicted ones, descending (ties: the vocabulary's order).
    """
    columns = {name: l2_normalise(features).numpy() for name, features in {"true": true, **predicted}.items()}
    frames = []
    for row, (image_id, category) in enumerate(rows.select("image_id", "category").iter_rows()):
        of_image = {name: features[row] for name, features in columns.items()}
        largest = np.max(list(of_image.values()), axis=0)
        shown = np.argsort(-largest, kind="stable")[:num_words]
        table = pl.DataFrame(
            {
                "image_id": [image_id] * len(shown),
                "category": [category] * len(shown),
                "word": [words[word] for word in shown],
                **{name: features[shown].astype(np.float64).round(4) for name, features in of_image.items()},
                "word_id": shown,
            }
        )
        order = list(of_image)
        frames.append(table.sort(*order, "word_id", descending=[*[True] * len(order), False]).drop("word_id"))
    return pl.concat(frames)


def sample_predictions(model: Model, examples: Examples, predictions: pa.Table) -> pa.Table:
    """Return predictions of sample test images, with the words of their click features (`schemas.SAMPLE_PREDICTIONS`).

    The samples are chosen by :func:`choose_samples` among a domain's rightly recognised images, and among the others.
    Words are predicted by the network that `clicksight predict` uses: that of the last phase with a click loss.

    Args:
        model: the model that was measured.
        examples: the test rows.
        predictions: of these rows (`schemas.PREDICTIONS`).
    """
    rows = examples.rows.with_row_index("row").select("row", "domain", "image_id")
    tests = pl.DataFrame(predictions).join(rows, on=["domain", "image_id"], how="left", maintain_order="left")
    right = tests["category"] == tests["predicted"]
    chosen: list[int] = []
    for domain in tests["domain"].unique(maintain_order=True):
        for kind in (right, ~right):
            chosen += choose_samples(tests, (kind & (tests["domain"] == domain)).to_list(), SAMPLES, model.seed)
    samples = tests[sorted(chosen)]
    nothing: list[list[Scored] | None] = [None] * len(samples)
    words = clicked = nothing
    phase = model.phase_that_predicts_clicks()
    if phase is not None and len(samples):
        assert examples.clicks is not None
        words = _words_of(_predicted_clicks(model, phase, examples, samples["row"].to_list()), model.words)
        true = torch.from_numpy(examples.clicks.vectors(samples["image_id"].to_list()))
        of_source = zip(_words_of(true, model.words), samples["domain"], strict=True)
        clicked = [scored if domain == "source" else None for scored, domain in of_source]
    columns = [
        *(samples[name].to_list() for name in schemas.SAMPLE_PREDICTIONS.names[:5]),
        *_names_and_values(words),
        *_names_and_values(clicked),
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schemas.SAMPLE_PREDICTIONS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schemas.SAMPLE_PREDICTIONS)


@torch.no_grad()
def _predicted_clicks(model: Model, phase: Phase, examples: Examples, rows: Sequence[int]) -> Tensor:
    """Return v^ of some rows, whatever their domain: (rows, K)."""
    pixels = examples.images.crops([Draw(row, None) for row in rows], model.recipe.network.image_size, model.seed)
    domain = phase.domains[0]
    clicks: Tensor = model.network(phase)({domain: pixels.to(device_at_hand())})[domain].clicks
    return clicks.float().cpu()


def _words_of(clicks: Tensor, words: Sequence[str]) -> list[list[Scored] | None]:
    return [largest(of_image, words, WORDS, above=0.0) for of_image in l2_normalise(clicks)]


def _names_and_values(
    listed: Sequence[list[Scored] | None],
) -> tuple[list[list[str] | None], list[list[float] | None]]:
    names = [None if scored is None else [one.name for one in scored] for scored in listed]
    values = [None if scored is None else [one.value for one in scored] for scored in listed]
    return names, values
