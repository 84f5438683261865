"""The four cells by a written-out ranking, with towers whose codes are known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click_data import CLICKS
from sklearn.metrics import average_precision_score, ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from base.console import UserError
from systems.dckt.baselines.networks import Sizes
from systems.dckt.clicks.config import CELLS, KNOWN, ClickEvaluateParams, ClickTrainParams
from systems.dckt.clicks.data import Clicks
from systems.dckt.clicks.evaluate import measure, read_towers
from systems.dckt.clicks.task import towers_of

PARAMS = ClickTrainParams.model_validate(CLICKS["train"])
EVALUATE = ClickEvaluateParams(k=3, most_queries=50)


def made_log(seed: int = 0) -> Clicks:
    random = np.random.default_rng(seed)
    splits = np.array(["train", "validation", "test"])
    pairs = np.unique(random.integers(0, [9, 14], (60, 2)), axis=0)
    return Clicks(
        images=[f"i{number:02d}" for number in range(14)],
        queries=[f"q{number}" for number in range(9)],
        image_split=splits[random.permutation(np.arange(14) % 3)],
        query_split=splits[np.arange(9) % 3],
        image_features=random.normal(size=(14, 4)).astype(np.float32),
        query_features=random.normal(size=(9, 3)).astype(np.float32),
        image=pairs[:, 1],
        query=pairs[:, 0],
        clicks=random.integers(1, 20, len(pairs)),
    )


def test_every_cell_is_ranked_among_its_own_images_by_clicks() -> None:
    clicks, towers = made_log(), towers_of(Sizes(4, 3, 0), PARAMS).eval()
    units = measure(towers, clicks, EVALUATE, seed=0)
    found = {(metric, unit): value for metric, unit, value, _ in units.iter_rows()}
    matrix, expected = clicks.matrix().toarray(), {}
    features = map(torch.from_numpy, (clicks.image_features, clicks.query_features))
    codes = [part.detach().numpy() for part in towers(*features)]
    scores = cosine_similarity(codes[1], codes[0])
    for query, image in CELLS:
        columns = clicks.image_split == KNOWN[image]
        for row in np.flatnonzero(clicks.query_split == KNOWN[query]):
            gains, ranked = matrix[row, columns], scores[row, columns]
            if gains.any():
                cell = f"{query}_{image}", clicks.queries[row]
                expected["ndcg_" + cell[0], cell[1]] = ndcg_score([gains], [ranked], k=3)
                expected["map_" + cell[0], cell[1]] = average_precision_score(gains > 0, ranked)
    assert set(found) == set(expected)
    assert len({metric for metric, _ in found}) == 8
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key


def test_a_cell_without_a_click_is_named() -> None:
    clicks = made_log()
    is_test = clicks.image_split[clicks.image] == "test"
    asked = clicks.query_split[clicks.query] == "train"
    kept = ~(is_test & asked)
    less = Clicks(
        **{**vars(clicks), "image": clicks.image[kept], "query": clicks.query[kept], "clicks": clicks.clicks[kept]}
    )
    with pytest.raises(UserError, match="no new image was clicked for a seen query"):
        measure(towers_of(Sizes(4, 3, 0), PARAMS).eval(), less, EVALUATE, seed=0)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"images": 3}))
    with pytest.raises(UserError, match="not of two towers on clicks"):
        read_towers(tmp_path)
