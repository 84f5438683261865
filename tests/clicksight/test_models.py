import json
from pathlib import Path

import pytest

from base.console import UserError
from clicksight.models import load_model


@pytest.mark.parametrize(
    ("run", "text"),
    [
        ({}, "names no system"),
        ({"system": 3}, "names no system"),
        ({"system": "os.path"}, "names no system"),
        ({"system": "nothing"}, "models of the system 'nothing' can't be applied to single pictures"),
        ({"system": "cleaning"}, "models of the system 'cleaning' can't be applied to single pictures"),
        ({"system": "siamese"}, "not of this system"),
    ],
)
def test_a_folder_that_is_no_model_to_apply_is_refused(tmp_path: Path, run: dict, text: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match=text):
        load_model(tmp_path)


def test_a_folder_without_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a model folder, written by a train stage"):
        load_model(str(tmp_path))
