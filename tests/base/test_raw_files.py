import glob
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_files import ODD, deep_folder, time_limit

from base import raw_files
from base.console import UserError
from base.inputs import check_file, is_file
from base.raw_files import Found, matches, walk


def fill(root: Path) -> Path:
    for name in ("a/x.tsv", "a/b/y.tsv", "a/b/.hidden/q.tsv", "a/.hidden.tsv", "c/z.tsv", "[1]/w.tsv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("kind", ODD)
def test_what_is_neither_file_nor_folder_is_named(tmp_path: Path, kind: str) -> None:
    ODD[kind](tmp_path / "odd")
    (tmp_path / "link").symlink_to("odd")
    for name in ("odd", "link"):
        for check in (check_file, is_file):
            with pytest.raises(UserError, match=rf"{name}: is {kind}, and only regular files are read; write the data"):
                check(tmp_path / name)
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(UserError, match="gone: is a link that leads to nothing"):
        check_file(tmp_path / "gone")


def test_files_are_files_and_links_to_them(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "link").symlink_to("a/x.tsv")
    assert [is_file(tmp_path / name) for name in ("a/x.tsv", "link", "a", "none", "a/x.tsv/none")] == [True] * 2 + [
        False
    ] * 3
    for name in ("a", "none"):
        check_file(tmp_path / name)  # opening the file raises the error


def test_a_walk_enters_each_folder_once_by_its_own_name(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a/before").symlink_to("../c")  # sorts before its target in path order
    (tmp_path / "c/up").symlink_to("..")
    elsewhere = tmp_path / ".elsewhere"
    elsewhere.mkdir()
    (elsewhere / "e.tsv").touch()
    for name in ("c/second", "a/first"):
        (tmp_path / name).symlink_to("../.elsewhere")
    (tmp_path / "c/gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "c/pipe")
    kinds = {
        **dict.fromkeys(("a", "a/b", "c", "[1]", "a/first"), "folder"),
        **dict.fromkeys(("a/x.tsv", "a/b/y.tsv", "c/z.tsv", "[1]/w.tsv", "a/first/e.tsv"), "file"),
        **dict.fromkeys(("a/before", "c/up", "c/second"), "again"),
        **{"c/gone": "broken", "c/pipe": "odd"},
    }
    assert sorted(walk(tmp_path)) == sorted(Found(tmp_path / name, kind) for name, kind in kinds.items())


def link_in_circles(root: Path) -> None:
    """Make two links in a folder to the folder itself: 2^40 paths until the system raises an error."""
    for name in ("one", "two"):
        (root / name).symlink_to(".")


def test_links_in_circles_end(tmp_path: Path) -> None:
    link_in_circles(fill(tmp_path) / "a")
    with time_limit(10):
        assert sum(kind == "file" for _, kind in walk(tmp_path)) == 4
        assert matches(f"{tmp_path}/**/x.tsv") == [tmp_path / "a/x.tsv"]


def test_a_walk_is_as_deep_as_a_path_is_long(tmp_path: Path) -> None:
    with deep_folder(tmp_path) as path:
        (tmp_path / path / "x.tsv").touch()
        assert [found.path for found in walk(tmp_path) if found.kind == "file"] == [tmp_path / path / "x.tsv"]
        assert matches(f"{tmp_path}/**/x.tsv") == [tmp_path / path / "x.tsv"]


@pytest.mark.parametrize(
    "pattern",
    ["**", "a/**", "**/*.tsv", "a/**/*.tsv", "*/**/b/*.tsv", "a/**/b/**/*.tsv", "./**/y.tsv", "none/**/*.tsv", "a/*",
     "a/x.tsv", "[[]1]/*", "**/.hidden/*", "a**/x.tsv", "a/**/", "**/**/z.tsv", "a/linked/*", "**/linked/*"],
)  # fmt: skip
@pytest.mark.parametrize("root", [lambda folder: folder, lambda _: Path()], ids=["absolute", "relative"])
def test_globs_match_what_python_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, root: Callable[[Path], Path]
) -> None:
    fill(tmp_path)
    (tmp_path / "a/linked").symlink_to("../c")
    (tmp_path / "a/gone").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    whole = os.path.join(root(tmp_path), pattern)  # noqa: PTH118
    found = {Path(match) for match in glob.glob(whole, recursive=True)}  # noqa: PTH207
    assert {*matches(whole)} - {Path()} == found - {Path()}
    assert len(matches(whole)) == len({*matches(whole)})


def test_too_many_links_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "MAX_LINKS", 100)
    for name in map(str, range(10)):  # each folder has links to all others: 10! paths
        (tmp_path / name).mkdir()
        for other in map(str, range(10)):
            (tmp_path / name / other).symlink_to(tmp_path / other)
    with time_limit(10), pytest.raises(OSError, match="more than 100 links to folders; name the folders"):
        matches(f"{tmp_path}/**/*.tsv")
