"""The comparison of a method with itself, on made results whose differences are known."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from report_data import write_run
from scipy import stats

from benchmarks import self_comparison
from benchmarks.project import Project
from benchmarks.self_comparison import difference, divisions, excludes_0_over_images, is_judged, table
from report.verdicts import Claimed, verdicts


def first_images(*numbers: int, images: int = 216) -> np.ndarray:
    """Return trainings that recognise so many of the images, the first ones."""
    return np.arange(images) < np.array(numbers)[:, None]


def test_each_division_is_listed_once() -> None:
    found = divisions(8)
    assert len(found) == 35
    expected = {frozenset((one, tuple(sorted(set(range(8)) - set(one))))) for one in combinations(range(8), 4)}
    assert {frozenset(halves) for halves in found} == expected
    assert divisions(4) == [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]


def test_the_kth_trainings_of_both_groups_are_one_seed() -> None:
    found = difference(first_images(160, 150, 140, 180), (0, 1), (2, 3))
    # 20 and -30 of 216, in points
    assert found.mean == pytest.approx(-5 / 2.16)
    assert found.seeds == pytest.approx((25 / 2.16) ** 2)
    assert found.num_seeds == 2
    theirs = stats.ttest_rel([160, 150], [140, 180])
    assert found.p_value() >= theirs.pvalue  # the images that both trainings differ in count, too


def test_one_training_against_another_is_never_judged() -> None:
    correct = first_images(200, 100)
    assert not is_judged(difference(correct, (0,), (1,)))
    assert verdicts([Claimed(difference(correct, (0,), (1,)))])[0].text == "one seed: no verdict"
    assert difference(correct, (0,), (1,)).interval().low > 0


def test_a_difference_far_above_the_noise_is_judged() -> None:
    draw = np.random.default_rng(0)
    good, bad = (draw.random((4, 216)) < share for share in (0.9, 0.5))
    correct = np.concatenate([good, bad])
    assert is_judged(difference(correct, (0, 1, 2, 3), (4, 5, 6, 7)))
    assert not is_judged(difference(correct, (0, 4, 1, 5), (2, 6, 3, 7)))


def test_the_table_counts_every_comparison() -> None:
    draw = np.random.default_rng(2)
    lines = list(table(draw.random((4, 60)) < np.array([[0.8], [0.4], [0.8], [0.4]])))
    assert lines[0].endswith("; 60 test images")
    rows = [line.strip("| ").split(" | ") for line in lines[4:]]
    assert [row[:2] for row in rows] == [
        ["one training with another", "6"],
        ["2 trainings with the other 2", "3"],
        ["2 trainings with the other 2, in all pairings", "6"],
    ]
    # pairs of a good and a bad one: four; over images alone they seem to differ
    assert rows[0][2:] == ["0 (0.0 %)", "4 (66.7 %)"]


def test_a_common_deviation_of_trainings_is_what_the_images_do_not_show() -> None:
    # all images of a training are shifted alike, by some 5 points
    draw = np.random.default_rng(5)
    shares = 0.8 + draw.normal(0, 0.05, (200, 8, 1))
    found = [difference(correct, (0, 1, 2, 3), (4, 5, 6, 7)) for correct in draw.random((200, 8, 216)) < shares]
    assert sum(map(is_judged, found)) <= 17  # 10 expected, 17 or fewer in 99 % of such experiments
    assert sum(map(excludes_0_over_images, found)) > 50  # 70 expected: 1.96 is then 0.94 standard errors


def test_the_command_trains_every_seed_on_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    class Faked(Project):
        """A project whose stages write what a training of so many right images is evaluated as."""

        def __init__(self, place: Path, preset: str, seeds: list[int], methods: list[str]) -> None:
            self.place, self.params, self.made_for = place, place / "params.json", (preset, seeds, methods)
            assert self.made_for == ("params.yaml", [3], ["TDL"])

        def prepare(self) -> None: ...

        def select(self, output: Path, cleaned: Path) -> None:
            assert (output, cleaned) == (self.place / "splits", self.place / "cleaned/images.parquet")

        def make_features(self, features: Path, splits: Path, clicks: Path, queries: Path) -> None: ...

        def run(self, output: Path, module: str, *arguments: str | Path) -> None:
            commands.append([module, *map(str, arguments)])
            if module == "systems.mtmdd.evaluate":
                seed = int(output.name.removeprefix("seed-"))
                write_run(output, 0, {"target": 5 + seed})  # the same test images with every seed

    monkeypatch.setattr(self_comparison, "Project", Faked)
    options = ["--place", str(tmp_path), "--method", "TDL", "--split", "3", "--trainings", "4"]
    monkeypatch.setattr(sys, "argv", ["self_comparison", *options])
    self_comparison.main()
    trained = [command for command in commands if command[0] == "systems.mtmdd.train"]
    assert [command[command.index("--seed") + 1] for command in trained] == ["0", "1", "2", "3"]
    assert {command[command.index("--split") + 1] for command in commands} == {str(tmp_path / "splits/seed-3.parquet")}
    shown = capsys.readouterr().out
    assert shown.startswith("accuracies, %: 31.2, 37.5, 43.8, 50.0; 16 test images")
    assert "| one training with another | 6 | 0 (0.0 %) |" in shown
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == shown
    monkeypatch.setattr(sys, "argv", ["self_comparison", "--place", str(tmp_path), "--trainings", "7"])
    with pytest.raises(SystemExit, match="7: an even number of at least 4 expected"):
        self_comparison.main()
