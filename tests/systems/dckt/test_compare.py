"""Tests of the command for comparison methods."""

import json
from pathlib import Path

import polars as pl
import pytest
from dckt_runs import write_domains
from ruamel.yaml import YAML

from base.params import read_params
from systems.dckt.compare import main

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("own_folder")


def compare(run: str) -> dict:
    """Write the domains and the toy's parameters, and compare a method."""
    write_domains(Path("data"))
    baselines = read_params(ROOT / "params.yaml")["dckt"]["baselines"]
    YAML().dump({"dckt": {"baselines": baselines, "evaluate": {"at_once": 100}}}, Path("params.yaml"))
    main([f"--run={run}", "--seed=0", "--data=data", "--output=out"])
    return dict(json.loads(Path("out/metrics.json").read_text()))


def test_a_method_is_measured_like_a_network() -> None:
    metrics = compare("CCA")
    units = pl.read_parquet("out/units.parquet")
    assert units["metric"].unique().sort().to_list() == ["map", "map_image_to_text", "map_text_to_image"]
    assert metrics["map"] == pytest.approx(units.filter(metric="map")["numerator"].mean())
    assert metrics["trained on"] == {"target train": 18, "target validation": 6}
    assert 0 <= metrics["chosen"]["target validation MAP"] <= 1


def test_few_pairs() -> None:
    assert compare("CCA_pairs=2")["trained on"] == {"target train": 6, "target validation": 6}


@pytest.mark.parametrize(
    ("run", "message"),
    [("DCKT", "--run DCKT: no comparison method"), ("CAC", "--run: 'CAC': expected one of")],
)
def test_other_runs_are_errors(run: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        compare(run)
    assert error.value.code == 2
    assert message in caplog.text
