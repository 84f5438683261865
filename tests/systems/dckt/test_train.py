"""Tests of the training command."""

import json
from pathlib import Path

import polars as pl
import pytest
from dckt_data import write_domain
from dckt_runs import recipe, write_domains

from systems.dckt.train import main

pytestmark = pytest.mark.usefixtures("own_folder")


def train(output: str, run: str = "DCKT", seed: int = 0) -> dict:
    Path("recipe.json").write_text(recipe(run).model_dump_json())
    main(["--recipe=recipe.json", f"--seed={seed}", "--data=data", f"--output={output}"])
    return dict(json.loads((Path(output) / "run.json").read_text()))


def weights(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.safetensors")}


def test_the_model_folder_has_all_phases_and_what_they_saw() -> None:
    write_domains(Path("data"))
    run = train("models/DCKT/seed-0")
    assert set(weights("models/DCKT/seed-0")) == {"source.safetensors", "target.safetensors", "transfer.safetensors"}
    assert [phase["phase"] for phase in run["chosen"]] == ["source", "target", "transfer"]
    assert run["pairs"] == {
        "source train": 21,
        "source validation": 7,
        "target train": 18,
        "target validation": 6,
    }
    assert run["domains"]["source"] == {"categories": ["bee", "cat", "dog"], "images": 6, "texts": 4}
    assert run["domains"]["target"]["categories"] == ["Bee", "ant", "wasp"]
    assert run["seed"] == 0


def test_test_pairs_change_nothing() -> None:
    write_domains(Path("data"))
    train("model")
    for domain in ("source", "target"):
        folder = Path("data") / domain
        tested = pl.read_parquet(folder / "splits/seed-0.parquet").filter(split="test")["pair_id"].implode()
        for path, key in (("embedded/part-00000.parquet", "image_id"), ("text_features/seed-0.parquet", "pair_id")):
            rows = pl.read_parquet(folder / path)
            other = pl.when(pl.col(key).is_in(tested)).then(pl.col("feature").list.reverse()).otherwise("feature")
            changed = rows.with_columns(feature=other)
            assert not changed.equals(rows)
            changed.write_parquet(folder / path)
    train("other")
    assert weights("model") == weights("other")


def test_other_seeds_are_other_trainings() -> None:
    write_domains(Path("data"), 0)
    write_domains(Path("data"), 1)
    train("model", "before")
    train("other", "before", seed=1)
    assert weights("model") != weights("other")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"ant": 10}, "target: 10 pairs of 1 categories"),
        ({"ant": 1, "bee": 1}, "target: no validation pair"),
    ],
)
def test_a_domain_that_cannot_be_used(target: dict[str, int], message: str, caplog: pytest.LogCaptureFixture) -> None:
    write_domain(Path("data/source"), {"cat": 10, "dog": 10})
    write_domain(Path("data/target"), target)
    with pytest.raises(SystemExit) as error:
        train("model")
    assert error.value.code == 2
    assert message in caplog.text
    assert not Path("model").exists()
