"""Cut Han runs in this process and in others."""

import jieba
import pytest

from base.console import UserError
from pipelines.words import han
from pipelines.words.han import build_tokenizer, cut_runs

RUNS = ["我来到北京清华大学", "金毛犬", "狗", "可爱的小狗图片大全", "杭研大厦", "柴犬幼崽"]


def expected(runs: list[str]) -> list[str]:
    tokenizer = jieba.Tokenizer()
    return [" ".join(tokenizer.cut(run)) for run in runs]


def test_no_runs():
    assert cut_runs([], None, None) == []


@pytest.mark.parametrize("num_runs", [1, 6])
def test_a_few_runs_are_cut_here(num_runs):
    assert cut_runs(RUNS[:num_runs], None, None) == expected(RUNS[:num_runs])


def test_many_runs_are_cut_in_other_processes_and_keep_their_order(monkeypatch):
    def not_here(*arguments: object) -> None:
        raise AssertionError("cut in this process")

    runs = [run[start:] for run in RUNS for start in range(len(run))]
    monkeypatch.setattr(han, "MANY", 20)
    monkeypatch.setattr(han, "CHUNK", 3)
    monkeypatch.setattr(han, "CORES", 2)
    monkeypatch.setattr(han, "_tokenizer_of", not_here)
    assert cut_runs(runs, None, None) == expected(runs)


def test_a_user_dictionary_that_changes_is_read_again_here_and_there(tmp_path, monkeypatch):
    monkeypatch.setattr(han, "CHUNK", 1)
    monkeypatch.setattr(han, "CORES", 2)
    words = tmp_path / "words.txt"
    for many in (100, 1):
        monkeypatch.setattr(han, "MANY", many)
        words.write_text("柴犬幼 9999\n", encoding="utf-8")
        assert cut_runs(["柴犬幼崽"] * 3, None, str(words)) == ["柴犬幼 崽"] * 3
        words.write_text("犬幼崽 99999\n", encoding="utf-8")
        assert cut_runs(["柴犬幼崽"] * 3, None, str(words)) == ["柴 犬幼崽"] * 3


@pytest.mark.parametrize("lines", ["", "柴犬 0\n幼崽 0\n"], ids=["empty", "all 0"])
def test_a_dictionary_without_a_word_in_use_is_an_error(tmp_path, lines):
    (tmp_path / "words.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(UserError, match=r"words\.txt: no word with a frequency above 0"):
        build_tokenizer(str(tmp_path / "words.txt"), None)
    (tmp_path / "more.txt").write_text("柴犬 3\n", encoding="utf-8")
    assert list(build_tokenizer(str(tmp_path / "words.txt"), str(tmp_path / "more.txt")).cut("柴犬")) == ["柴犬"]
