"""Every entry of a list of words that does nothing is named."""

import logging
from pathlib import Path

import pytest

from pipelines.words.segmentation import SegmentParams
from pipelines.words.word_lists import warn_of_idle_entries

CASES = Path(__file__).parents[3].parent / "shared" / "cases"


@pytest.fixture
def warnings(caplog):
    def warnings_of(**changes) -> list[str]:
        nothing = {"stop_words": None, "dictionary": None, "user_dictionary": None, "minimum_length": 1, "lemmas": None}
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="clicksight"):
            warn_of_idle_entries(SegmentParams(**{**nothing, **changes}))
        return [record.getMessage() for record in caplog.records]

    return warnings_of


def test_no_list_no_warning(warnings):
    assert warnings() == []


def test_useful_lists_give_no_warning(warnings, tmp_path):
    (tmp_path / "stop.txt").write_text("\ufeffthe\r\ndon't\n\nt-shirt\n的\n", encoding="utf-8")
    (tmp_path / "dictionary.txt").write_text("柴犬 3 n\n狗\t4\n㐀 2\n", encoding="utf-8")
    (tmp_path / "user.txt").write_text("\ufeff打底裤\n柴犬幼崽\t99999\n人々 999\n犬 0\n红狗 0 n\n", encoding="utf-8")
    assert warnings(stop_words=str(tmp_path / "stop.txt")) == []
    assert warnings(dictionary=str(tmp_path / "dictionary.txt"), user_dictionary=str(tmp_path / "user.txt")) == []


def test_stop_words_without_a_word(warnings, tmp_path):
    path = tmp_path / "stop.txt"
    path.write_text("!!!\nthe\n\n\U0001f415\n1\ufe0f\u20e3\n", encoding="utf-8")
    assert warnings(stop_words=str(path)) == [
        f"{path}: 3 of 4 stop words can never match, because no word has their signs: "
        "'!!!', '\U0001f415', '1\ufe0f\u20e3'"
    ]


def test_several_stop_words_in_a_line(warnings, tmp_path):
    path = tmp_path / "stop.txt"
    path.write_text("a,an,the\nthe\t5000\nof\n", encoding="utf-8")
    assert warnings(stop_words=str(path)) == [
        f"{path}: 2 of 3 lines have a comma or a tab and match only where all of their words follow each other; write "
        r"one stop word per line: 'a,an,the', 'the\t5000'"
    ]


@pytest.mark.parametrize("kind", ["dictionary", "user_dictionary"])
def test_words_of_a_dictionary_that_are_no_runs_of_han(warnings, tmp_path, kind):
    path = tmp_path / "words.txt"
    lines = ["打底裤 99999", "T恤 10000 n", "C++ 1000", "𠮷野家 999", "dog 5", "红,狗 7", "红 狗 7", "狗 3"]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert warnings(**{kind: str(path)}) == [
        f"{path}: 5 of 8 words can never be found, because jieba joins only Han characters from U+4E00 to U+9FD5: "
        "'T恤', 'C++', '𠮷野家', '红,狗', '红 狗'"
    ]


def test_words_of_a_user_dictionary_whose_frequency_is_too_low(warnings, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("的是 1 n\n的的\n", encoding="utf-8")
    assert warnings(user_dictionary=str(path)) == [
        f"{path}: 1 of 2 words are never found, because jieba prefers to cut them, even alone; leave out their "
        "frequencies, so that jieba chooses sufficient ones: '的是'"
    ]


def test_at_most_twenty_are_named(warnings, tmp_path):
    path = tmp_path / "stop.txt"
    path.write_text("".join(f"{'!' * number}\n" for number in range(1, 31)), encoding="utf-8")
    [warning] = warnings(stop_words=str(path))
    assert warning.endswith(", '!!!!!!!!!!!!!!!!!!!!' and 10 more")


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not beside the repository")
def test_the_shared_cases(warnings):
    [warning] = warnings(user_dictionary=str(CASES / "user_dictionary_mixed.txt"))
    assert "5 of 6 words" in warning
    assert warning.endswith(": 'T恤', '卡拉OK', '糖类抗原19-9', 'Edu Trust认证', 'C++'")
    assert warnings(stop_words=str(CASES / "stop_words.txt")) == []
