"""Cut Han runs in this process and in others."""

import jieba
import pytest

from base.console import UserError
from pipelines.words import han
from pipelines.words.han import build_tokenizer, cut_runs, read_dictionary

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


def test_iteration_marks_are_cut_as_the_character_that_they_repeat():
    assert cut_runs(["佐々木", "人々", "々木", "山々村"], None, None) == ["佐々木", "人々", "々 木", "山々村"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("柴犬 3 n", ("柴犬", 3)),
        ("柴犬\t3\tn", ("柴犬", 3)),
        ("  柴犬   3 ", ("柴犬", 3)),
        ("柴犬\u30003", ("柴犬", 3)),
        ("柴犬 3 Ng", ("柴犬", 3)),
        ("柴犬 n", ("柴犬", None)),
        ("柴犬", ("柴犬", None)),
        ("Edu Trust认证 2000", ("Edu Trust认证", 2000)),
        ("糖类抗原19-9 9999", ("糖类抗原19-9", 9999)),
        ("卡拉 OK", ("卡拉 OK", None)),
        ("柴犬,3", ("柴犬,3", None)),
        ("柴犬 0", ("柴犬", 0)),
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff", "\r\n"], ids=["", "byte-order mark", "empty line"])
def test_lines_of_a_dictionary(tmp_path, start, line, expected):
    (tmp_path / "words.txt").write_text(f"{start}{line}\r\n\r\n", encoding="utf-8", newline="")
    [word] = read_dictionary(str(tmp_path / "words.txt"), needs_frequencies=False)
    assert (word.raw, word.frequency) == expected


@pytest.mark.parametrize(
    ("line", "is_additional", "message"),
    [
        (
            "柴犬 -3 n",
            True,
            r"words.txt:2: the frequency is below 0: '柴犬 -3 n'; 0 stands for a word never to be found",
        ),
        ("柴犬\t-3", False, r"words.txt:2: the frequency is below 0: '柴犬\\t-3'"),
        ("柴犬", False, r"words.txt:2: no frequency: '柴犬'; a line is: word, space or tab, frequency"),
        ("柴犬,3", False, r"words.txt:2: no frequency: '柴犬,3'"),
    ],
)
def test_unusable_lines_of_a_dictionary(tmp_path, line, is_additional, message):
    (tmp_path / "words.txt").write_text(f"狗 3\n{line}\n", encoding="utf-8")
    path = str(tmp_path / "words.txt")
    with pytest.raises(UserError, match=message):
        build_tokenizer(*((None, path) if is_additional else (path, None)))


def test_dictionaries_without_oddities_give_jiebas_own_tables(tmp_path):
    lines = "柴犬 3 n\n柴犬幼崽\n狗 0\n幼崽 77 v\n\n杭研大厦 nt\nT恤 10\n"
    (tmp_path / "more.txt").write_text(lines, encoding="utf-8")
    (tmp_path / "words.txt").write_text("柴犬 100 n\n幼崽 200\n柴犬幼 7 n\nt恤 4 n\n", encoding="utf-8")
    jiebas = jieba.Tokenizer(str(tmp_path / "words.txt"))
    jiebas.tmp_dir = str(tmp_path)
    jiebas.load_userdict(str(tmp_path / "more.txt"))
    ours = build_tokenizer(str(tmp_path / "words.txt"), str(tmp_path / "more.txt"))
    jiebas_only = {"T", "T恤"}  # words are folded here
    assert ours.total == jiebas.total
    assert {word: number for word, number in ours.FREQ.items() if word != "t恤"} == {
        word: number for word, number in jiebas.FREQ.items() if word not in jiebas_only | {"t恤"}
    }


@pytest.mark.parametrize(
    "line", ["柴犬幼崽", "\ufeff柴犬幼崽 99999", "柴犬幼崽\t99999", "柴\u200b犬幼崽\n柴\u00ad犬幼崽 99999 n"]
)
def test_oddly_written_words_are_found(tmp_path, line):
    (tmp_path / "words.txt").write_text(line, encoding="utf-8")
    assert cut_runs(["柴犬幼崽"], None, str(tmp_path / "words.txt")) == ["柴犬幼崽"]


def test_a_word_with_an_iteration_mark_is_found(tmp_path):
    (tmp_path / "words.txt").write_text("山々村 99999\n", encoding="utf-8")
    assert cut_runs(["山々村山山村"], None, str(tmp_path / "words.txt")) == ["山々村 山山村"]


def test_a_word_without_letters_adds_nothing(tmp_path):
    (tmp_path / "words.txt").write_text("\u200d\n", encoding="utf-8")
    assert build_tokenizer(None, str(tmp_path / "words.txt")).total == build_tokenizer(None, None).total
