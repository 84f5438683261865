"""The stages that write recipes and train: files, and errors before anything is imported."""

import json
from pathlib import Path

import pytest
from annotation_data import recipe, write_data_set

from systems.annotation import recipes, train

PARAMS = """\
annotation:
  plan: {sets: [toy], data_set: toy, runs: [MS-CNN_first=2, MS-CNN_loss=warp], baselines: []}
  network: NETWORK
  train: TRAIN
  stages: STAGES
  evaluate: {batch_size: 2, top: 2, thresholds: [0.5], bins: 4}
"""


@pytest.mark.usefixtures("own_folder")
def test_recipes_are_trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recipe(request, "MS-CNN_first=2")
    text = PARAMS
    for name in ("network", "train", "stages"):
        text = text.replace(
            name.upper(), json.dumps(getattr(made, name).model_dump(mode="json", exclude_none=name == "train"))
        )
    Path("params.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["recipes"])
    recipes.main(["--output=recipes"])
    assert sorted(path.name for path in Path("recipes").iterdir()) == ["MS-CNN_first=2.json", "MS-CNN_loss=warp.json"]
    assert json.loads(Path("recipes/MS-CNN_first=2.json").read_text()) == made.model_dump(mode="json")
    write_data_set(Path("data"))
    train.main(["--recipe=recipes/MS-CNN_first=2.json", "--seed=3", "--data=data", "--output=models/r/seed-3"])
    run = json.loads(Path("models/r/seed-3/run.json").read_text())
    assert [epoch["phase"] for epoch in run["chosen"]] == ["cnn", "fused"]
    assert run["chosen"][0]["chosen_on"] == "validation H-F1"
    assert run["most_labels"] == 3
    with pytest.raises(SystemExit):
        train.main(["--recipe=none.json", "--seed=3", "--data=data", "--output=models/x"])
