import os
import random
import subprocess
import sys

import pytest
from launched import HERE
from training_runs import contents

from base.artifacts import write_json
from model.training.params import ScheduleParams
from systems.mtmdd.config import Recipe
from systems.mtmdd.recipes import build_recipe

# it drops after every epoch that is no better, and doesn't end the phase
PLATEAU = ScheduleParams(kind="plateau", warm_up=0.0, drop_factor=0.5, patience=1, drops=9)
STEPS = 3 * 6 + 3 * 4  # MTTDL: epochs of the source in its first phase, then of the target


def random_kills(seed: int) -> str:
    """Return the moments of three kills; a continued run takes fewer steps, so every moment comes before its last."""
    draw = random.Random(seed)
    steps = [draw.randint(2, STEPS // 3) for _ in range(3)]
    return ",".join(f"{step}{draw.choice(['', '', 's'])}" for step in steps)


@pytest.mark.slow
def test_kill_9_at_random_steps_changes_no_byte(
    tiny_data, network_params, objective_params, train_params, tmp_path
):  # fmt: skip
    for name in ("images", "split", "features"):
        path = getattr(tiny_data, name)
        (tmp_path / path.name).symlink_to(path)
    options = train_params.model_copy(update={"ema": 0.9, "schedule": PLATEAU, "workers": 1})
    recipe: Recipe = build_recipe("MTTDL", network_params, objective_params, options)
    write_json(recipe.model_dump(mode="json", exclude_none=True), tmp_path / "recipe.json")
    kills = [random_kills(seed) for seed in range(2)]
    assert {moment[-1] == "s" for moments in kills for moment in moments.split(",")} == {True, False}
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    command = [sys.executable, str(HERE / "killed_training.py"), str(tmp_path), str(tmp_path / "models"), "-", *kills]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    whole = contents(tmp_path / "models" / "0")
    assert {"predict.safetensors", "target.safetensors", "run.json"} <= set(whole)
    for number in range(1, len(kills) + 1):
        assert contents(tmp_path / "models" / str(number)) == whole, kills[number - 1]
    assert not list((tmp_path / ".state" / "checkpoints").iterdir())
    assert len(list((tmp_path / "models").iterdir())) == len(kills) + 1  # no unfinished folders beside the models
