import stat
from pathlib import Path

import pytest
from dvc.fs import localfs

from flows.whole_files import WholeFiles, leftover_of, rewritten


@pytest.mark.parametrize("durable", [False, True])
def test_the_old_text_stands_until_the_new_one_is_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.lock"
    path.write_text("old")
    with rewritten(path, durable) as file:
        file.write("new, and longer")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new, and longer"
    assert [child.name for child in tmp_path.iterdir()] == ["a.lock"]


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text("old")

    def break_off() -> None:
        with rewritten(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.lock"]


def test_what_a_killed_writer_has_left_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    leftover_of(path).write_text("much longer than what comes")
    with rewritten(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert not leftover_of(path).exists()


def test_mode_and_link_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "elsewhere" / "a.lock", tmp_path / "a.lock"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with rewritten(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_dvcs_file_system_reads_as_ever_and_writes_whole(tmp_path: Path) -> None:
    path, files = tmp_path / "rwlock", WholeFiles(localfs)
    path.write_text("old")
    with files.open(str(path), encoding="utf-8") as file:
        assert file.read() == "old"
    with files.open(str(path), "w", encoding="utf-8") as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert files.join("a", "b") == "a/b"
