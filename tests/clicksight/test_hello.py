import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import sync_playwright

from clicksight import hello

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_six_breeds_are_of_the_toy_and_of_six_kinds() -> None:
    names = [one.name for one in hello.six_breeds().categories]
    assert sorted(names) == sorted(hello.BREEDS)
    assert len({name.split()[-1] for name in names}) == len(names)


def test_held_out_pictures_are_not_in_the_log() -> None:
    drawn = hello.draw_all(hello.six_breeds(), in_log=2, held_out=1)
    held_out = drawn.pictures.filter("held_out")["image_id"].to_list()
    assert len(held_out) == 6
    assert drawn.rows["image_id"].n_unique() == 12
    assert not set(held_out) & set(drawn.rows["image_id"])


def test_only_pictures_with_one_best_name_are_learned_from_and_under_that_name(tmp_path: Path) -> None:
    drawn = hello.draw_all(hello.six_breeds(), in_log=2, held_out=1)
    first, second, third = drawn.rows["image_id"].unique(maintain_order=True)[:3]
    rows = [(first, "meadow setter", 0.4), (second, "castle terrier", 0.0), (third, None, 0.0)]
    labels = pl.DataFrame(rows, ["image_id", "category", "margin"], orient="row")
    assert hello.write_shard(drawn, labels, tmp_path / "shards").rows() == [("source", first, "meadow setter", "train")]


def test_figures_are_counted_as_by_hand() -> None:
    pictures = [("a", "x", False, b""), ("b", "y", False, b""), ("c", "y", True, b""), ("d", "x", True, b"")]
    drawn = hello.Drawn(
        pl.DataFrame(pictures, ["image_id", "category", "held_out", "image"], orient="row"),
        pl.DataFrame({"image_id": ["a", "a", "b"], "query": ["p", "q", "p"], "clicks": [5, 2, 1]}),
    )
    rows = pl.DataFrame({"image_id": ["a", "b"], "category": ["x", "x"]})
    unseen = pl.DataFrame({"image_id": ["c", "d"], "category": ["y", "x"], "said": ["y", "y"]})
    found = hello.figures_of(drawn, rows, rows, unseen)
    assert (found["log_rows"], found["clicks"], found["queries"]) == (3, 8, 2)
    assert (found["pictures_named"], found["labels_right"]) == (2, 1)
    assert (found["recognised"], found["accuracy_percent"]) == (1, 50.0)


def test_a_command_that_fails_is_reported_with_its_output(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("beagle\n")
    (tmp_path / "aliases.tsv").write_text("hound\tbeagle\n")
    with pytest.raises(RuntimeError, match=r"labels: exit code 2[\s\S]*log\.tsv"):
        hello.read_log(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("hello") / "hello"
    (folder / "images").mkdir(parents=True)  # what an earlier run left is replaced
    (folder / "images" / "old.jpg").touch()
    ran = subprocess.run(
        [sys.executable, "-m", "clicksight.hello", "--output", str(folder)],
        capture_output=True, text=True, timeout=200, check=False, cwd=ROOT,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not (folder / "images" / "old.jpg").exists()
    return folder, (ran.stdout + ran.stderr).splitlines()


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestWhole:
    def test_it_prints_at_most_15_lines_and_the_page_is_among_them(self, whole: tuple[Path, list[str]]) -> None:
        folder, lines = whole
        assert 5 <= len(lines) <= 15
        assert any(str(folder / "index.html") in line for line in lines)

    def test_labels_and_recogniser_are_far_better_than_chance(self, whole: tuple[Path, list[str]]) -> None:
        figures = json.loads((whole[0] / "summary.json").read_text())
        assert figures["labels_right"] > 0.8 * figures["pictures_named"]
        # six breeds: with 150 pictures 40 % is more than seven standard errors above chance
        assert figures["accuracy_percent"] > 40
        assert figures["recognised"] == round(figures["accuracy_percent"] * figures["pictures_held_out"] / 100)

    def test_two_runs_write_the_same_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # checkpoints are written below the current folder
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        written = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            hello.hello(tmp_path / name, Path("data/hello"), in_log=8, held_out=2)
            files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
            written.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
        first, second = written
        assert first.keys() == second.keys()
        assert [name for name in first if first[name] != second[name]] == ["features/summary.json"]  # has seconds
        assert "--clicks data/hello/log.tsv" in first["index.html"].decode()

    @pytest.fixture
    def page(self, whole: tuple[Path, list[str]]) -> Iterator[object]:
        with sync_playwright() as player:
            browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield browser.new_page()
            browser.close()

    @pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
    @pytest.mark.parametrize("width", [1100, 390])
    def test_the_page_shows_its_pictures_and_fits_the_screen(self, whole, page, width) -> None:  # type: ignore[no-untyped-def]
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((whole[0] / "index.html").as_uri())
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        widths = page.evaluate("[...document.images].map(one => one.naturalWidth)")
        assert len(widths) > 20
        assert np.min(widths) > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
