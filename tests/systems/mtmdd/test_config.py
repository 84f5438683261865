from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from systems.mtmdd.config import (
    ClickBranchParams,
    EmbeddingParams,
    LossTerm,
    NetworkParams,
    ObjectiveParams,
    Phase,
    Recipe,
    TrainParams,
)

SOURCE = LossTerm(domain="source", kind="recognition", weight=1)
TARGET = LossTerm(domain="target", kind="recognition", weight=1)
COUNT = LossTerm(domain="source", kind="count", weight=1)


def phase(**values) -> Phase:
    return Phase.model_validate({"name": "p", "start": "backbone", "frozen": [], "features": "visual", **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"losses": [LossTerm(domain="target", kind="count", weight=1)]}, "the target domain has no clicks"),
        ({"losses": [COUNT]}, "`features` and a recognition loss need each other"),
        ({"losses": [SOURCE], "features": None}, "`features` and a recognition loss need each other"),
        ({"losses": [TARGET], "shared_head": True}, "a shared head needs both domains, and a recognition loss on one"),
        (
            {"losses": [TARGET], "unlearned": ["source"]},
            r"unlearned = \['source'\]: each must be a domain with other losses",
        ),
        ({"losses": [TARGET, COUNT], "unlearned": ["target"]}, r"unlearned = \['target'\]: each must be a domain"),
        (
            {"losses": [COUNT], "unlearned": ["source"]},
            r"unlearned = \['source'\]: each .* and another domain must have a recognition loss",
        ),
        ({"losses": [SOURCE, SOURCE]}, "a loss is listed twice"),
        ({"losses": [SOURCE], "name": "../p"}, "String should match pattern"),
        ({"losses": [SOURCE], "start": {"recogniser": "a"}}, "Input should be 'backbone', 'embedding' or 'predictor'"),
        (
            {"losses": [SOURCE], "start": {"embedding": "a"}},
            "start gives the embedding the weights of 'a', but this phase has no embedding",
        ),
        (
            {"losses": [SOURCE, COUNT], "start": {"embedding": "backbone"}},
            "the embedding must come from an earlier phase; 'backbone' has no embedding",
        ),
        (
            {"losses": [TARGET], "features": "click", "start": {"predictor": "a"}},
            "a predictor needs a phase in `start`, and must be frozen: one of them is missing",
        ),
        (
            {"losses": [TARGET], "features": "click", "start": "a", "frozen": ["predictor"]},
            "a predictor needs a phase in `start`, and must be frozen: one of them is missing",
        ),
        (
            {"losses": [TARGET], "start": {"predictor": "a"}, "frozen": ["predictor"]},
            "a phase with a predictor must recognise by the predicted clicks, without a click loss",
        ),
        (
            {"losses": [TARGET, COUNT], "features": "click", "start": {"predictor": "a"}, "frozen": ["predictor"]},
            "a phase with a predictor must recognise by the predicted clicks, without a click loss",
        ),
        (
            {
                "losses": [TARGET],
                "features": "click",
                "start": {"predictor": "a", "embedding": "a"},
                "frozen": ["predictor"],
            },
            "start gives the embedding the weights of 'a', but this phase has no embedding",
        ),
        (
            {"losses": [TARGET], "features": "click", "start": {"predictor": "backbone"}, "frozen": ["predictor"]},
            "the predictor must come from an earlier phase; 'backbone' has no embedding",
        ),
    ],
)
def test_phases_that_cannot_be(values, message):
    with pytest.raises(ValidationError, match=message):
        phase(**values)


@pytest.mark.parametrize(
    ("losses", "features", "main_domain", "recognised", "has_embedding"),
    [
        ([SOURCE], "visual", "source", ["source"], False),
        ([COUNT], None, "source", [], True),
        ([TARGET], "click", "target", ["target"], True),
        ([TARGET, COUNT], "visual", "target", ["target"], True),
        ([TARGET, SOURCE], "visual", "target", ["source", "target"], False),
    ],
)
def test_what_a_phase_is(losses, features, main_domain, recognised, has_embedding):
    found = phase(losses=losses, features=features)
    assert (found.main_domain, found.recognised, found.has_embedding) == (main_domain, recognised, has_embedding)


@pytest.mark.parametrize(
    ("start", "earlier"),
    [
        ("backbone", []),
        ("a", ["a"]),
        ({"backbone": "a", "embedding": "b"}, ["a", "b"]),
        ({"embedding": "b", "backbone": "b"}, ["b"]),
        ({"backbone": "backbone", "embedding": "b"}, ["b"]),
        ({}, []),
    ],
)
def test_the_phases_that_a_phase_starts_from(start, earlier):
    assert phase(losses=[TARGET, COUNT], start=start).starts_from == earlier


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"start": "later"}], r"phase p starts from 'later'; earlier ones are \['backbone'\]"),
        ([{"start": {"backbone": "later"}}], r"phase p starts from 'later'; earlier ones are \['backbone'\]"),
        ([{}, {}], "two phases are named 'p'"),
        (
            [{}, {"name": "q", "losses": [COUNT, TARGET], "start": {"backbone": "p", "embedding": "p"}}],
            "phase q: phase 'p' has no embedding to start from",
        ),
        (
            [
                {},
                {"name": "q", "features": "click", "start": {"predictor": "p"}, "frozen": ["predictor"]},
            ],
            "phase q: phase 'p' has no embedding to start from",
        ),
        ([{"features": "click"}], "network.embedding must be given if and only if"),
        ([{"losses": [COUNT, TARGET]}], "network.embedding must be given if and only if"),
    ],
)
def test_recipes_that_cannot_be(phases, message, network_params, train_params):
    network = network_params.model_copy(update={"embedding": None})
    with pytest.raises(ValidationError, match=message):
        Recipe(
            method="x",
            network=network,
            train=train_params,
            phases=[phase(**{"losses": [TARGET], **values}) for values in phases],
        )


def test_position_parameters_go_with_the_position_loss(network_params, train_params):
    position = LossTerm(domain="source", kind="position", weight=1)
    with pytest.raises(ValidationError, match="position must be given if and only if"):
        Recipe(method="x", network=network_params, train=train_params, phases=[phase(losses=[position], features=None)])


def test_embeddings_need_their_sizes():
    with pytest.raises(ValidationError, match=r"kind CONV\+biFC needs kernels, hidden"):
        EmbeddingParams(kind="CONV+biFC", kernel_size=3, dropout=0.1)
    with pytest.raises(ValidationError, match="kernel_size must be odd"):
        EmbeddingParams(kind="CONV+FC", kernel_size=4, kernels=3)


def test_a_click_start_needs_a_rank():
    with pytest.raises(ValidationError, match="click_start needs rank, the number of directions"):
        EmbeddingParams(kind="biFC", hidden=4, dropout=0.1, click_start=True)


def test_the_rank_is_e3s():
    whole = EmbeddingParams(kind="biFC", hidden=4, dropout=0.5, rank=3, click_start=True)
    assert whole.only_used("FC").model_dump(exclude_none=True) == {"kind": "FC"}
    assert whole.only_used("biFC") == whole


@pytest.mark.parametrize(("values", "expected"), [({}, 1), ({"click_gradient": 4.0}, 0.25),
    ({"click_gradient": 4.0, "convnet_gradient": 1.0}, 1), ({"convnet_gradient": 0.0}, 0)])  # fmt: skip
def test_b_is_the_inverse_of_c_unless_it_is_given(values, expected):
    assert ClickBranchParams(**values).factor_at_convnet == expected


def test_even_kernels_need_a_padding():
    assert EmbeddingParams(kind="CONV+FC", kernel_size=4, kernels=3, padding=1).padding == 1


def test_only_used_borders():
    whole = EmbeddingParams(
        kind="CONV+biFC", kernel_size=5, kernels=3, hidden=4, dropout=0.5, padding=1, ceil_pooling=True
    )
    assert whole.only_used("CONV+FC").model_dump(exclude_none=True) == {
        "kind": "CONV+FC",
        "kernel_size": 5,
        "kernels": 3,
        "padding": 1,
        "ceil_pooling": True,
    }
    assert whole.only_used("biFC").model_dump(exclude_none=True) == {"kind": "biFC", "hidden": 4, "dropout": 0.5}


def test_only_used(network_params):
    used = network_params.embedding.only_used("biFC").model_dump(exclude_none=True)
    assert used == {"kind": "biFC", "hidden": 7, "dropout": 0.1}


def test_crops_fit():
    with pytest.raises(ValidationError, match=r"resize \(40\) must be at least image_size \(48\)"):
        NetworkParams(backbone="plain", weights="none", image_size=48, resize=40, dropout=0.1)


def test_the_released_definition_as_the_docs_give_it():
    yaml = YAML(typ="safe")
    root = Path(__file__).parents[3]
    text = (root / "docs" / "paper.md").read_text(encoding="utf-8")
    released = yaml.load(text.split("```yaml\n")[1].split("```")[0])
    params = yaml.load(root / "presets" / "clickture_dog.yaml")["mtmdd"]
    models = {"network": NetworkParams, "objective": ObjectiveParams, "train": TrainParams}
    assert set(released) == set(models)
    for section, values in released.items():
        before = models[section].model_validate(params[section])
        after = models[section].model_validate({**params[section], **values})
        assert all(getattr(before, name) != getattr(after, name) for name in values)
