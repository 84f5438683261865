from pathlib import Path

import pytest

from model.training.curves import run_name


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("data/models/methods/TDL/seed-0", "methods/TDL/seed-0"),
        ("data/models/one_shot/VGGsrc/source-0.4/seed-2", "one_shot/VGGsrc/source-0.4/seed-2"),
        ("elsewhere/mine", "mine"),
    ],
)
def test_run_name(output, expected):
    assert run_name(Path(output)) == expected


def test_run_name_below_another_folder():
    assert run_name(Path("data/sets/toy/cleaner"), "data") == "sets/toy/cleaner"
