"""Split queries into words, script by script."""

import os
import re
import unicodedata

import jieba
import pyarrow as pa
import pytest
from click_oracles import words_of
from hypothesis import given, settings
from hypothesis import strategies as st

from base.console import UserError
from base.params import ParamsError, validate_section
from pipelines.words import segmentation
from pipelines.words.segmentation import Segmenter, SegmentParams, normalise_text


def segmenter(**changes) -> Segmenter:
    values = {
        "stop_words": None,
        "dictionary": None,
        "user_dictionary": None,
        "minimum_length": 1,
        "lemmas": None,
        **changes,
    }
    return Segmenter(validate_section(SegmentParams, "segment", values, where="test"))


PLAIN = segmenter()  # jieba's dictionary is built once, at the first Han run


def words(*queries: str, **changes) -> list[list[str]]:
    segment = segmenter(**changes) if changes else PLAIN
    return segment(pa.array(queries, pa.string())).to_pylist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Golden-Retriever don't bite_me", ["golden", "retriever", "don", "t", "bite", "me"]),
        ("dog Dog DOG cat dog", ["dog", "cat"]),
        ("ＮＡÏＶＥ naïve nai\u0308ve", ["naïve"]),
        ("Straße STRASSE", ["strasse"]),
        ("ΟΔΟΣ οδος οδοσ", ["οδοσ"]),
        ("café x² ½ №5 Ⅷ", ["café", "x2", "1", "2", "no5", "viii"]),
        ("3.5mm c++", ["3", "5mm", "c"]),
        ("собака Собака", ["собака"]),
        ("الكَلْب كلب", ["الكَلْب", "كلب"]),
        ("हिन्दी कुत्ता", ["हिन्दी", "कुत्ता"]),
        ("หมาน่ารัก มาก", ["หมาน\u0e48าร\u0e31ก", "มาก"]),
        ("개가 귀여워", ["개가", "귀여워"]),
        ("東京タワー 食べる", ["東京", "タワー", "食", "べる"]),
        ("拉布拉多犬", ["拉布拉多", "犬"]),
        ("iphone手机壳", ["iphone", "手机", "壳"]),
        ("我来到北京清华大学", ["我", "来到", "北京", "清华大学"]),
        ("❤️dog🐕‍🦺", ["dog"]),
        ("㐀𠀀", ["㐀", "𠀀"]),
        ("", []),
        (" _-!?。、 \u0301", []),
    ],
)
def test_scripts(query, expected):
    assert words(query) == [expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Case folding splits these code points into a letter and its mark.
        ("\u1e96 H\u0331 h\u0331", ["\u1e96"]),
        ("\u01f0 J\u030c", ["\u01f0"]),
        ("\u0390 \u03aa\u0301", ["\u0390"]),
        ("\u00df\u0301", ["s\u015b"]),  # ß with an acute accent: the accent goes to the second s
        # The compatible form of these is a capital, so only a folding after it gives small letters.
        ("\u1d2c\u1d34", ["ah"]),
        ("\u03d2", ["\u03c5"]),
    ],
    ids=["h with line", "j with caron", "iota with two marks", "sharp s with accent", "raised capitals", "hooked"],
)
def test_folding_does_not_undo_the_normal_form_nor_come_before_it(query, expected):
    assert words(query) == [expected]
    assert normalise_text(query).split() == [
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold()) for word in query.split()
    ]
    assert unicodedata.is_normalized("NFKC", normalise_text(query))


def test_words_are_the_same_when_the_memory_of_runs_is_full(monkeypatch):
    monkeypatch.setattr(segmentation, "LARGEST_CACHE", 2)
    segment = segmenter()
    for queries, expected in (
        (["狗 可爱的狗"], [["狗", "可爱", "的"]]),
        (["拉布拉多犬", "狗"], [["拉布拉多", "犬"], ["狗"]]),  # a known run and a new one, more than the cache may hold
        (["我来到北京清华大学", "可爱的狗", "狗"], [["我", "来到", "北京", "清华大学"], ["可爱", "的", "狗"], ["狗"]]),
    ):
        assert segment(pa.array(queries)).to_pylist() == expected


def test_queries_are_independent_of_their_neighbours():
    queries = ["可爱的狗", "", "dog", "狗 dog 狗", "ÄÖ", "可爱的狗 x"]
    assert words(*queries) == [words(query)[0] for query in queries]
    assert words() == []


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("aBz09ßéЖ 　-_.'狗金毛犬北京ータガ가Ａ２²\u00a0"), max_size=15), max_size=8))
def test_equals_python_and_jieba_where_there_are_no_combining_marks(queries):
    assert words(*queries) == [words_of(query) for query in queries]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20))  # Cn: assigned only in a newer Unicode
def test_words_of_any_text_are_letters_digits_and_marks_once_and_stay_when_segmented_again(text):
    found = words(text)[0]
    assert len(set(found)) == len(found)
    for word in found:
        assert all(unicodedata.category(character)[0] in "LNM" for character in word)
        assert unicodedata.category(word[0])[0] in "LN"
        assert normalise_text(word) == word


def test_stop_words_are_compared_in_normal_form(tmp_path):
    (tmp_path / "stop.txt").write_bytes("\ufeffＴＨＥ\r\n\r\n 的 \n".encode())
    assert words("The dog", "可爱的狗", stop_words=str(tmp_path / "stop.txt")) == [["dog"], ["可爱", "狗"]]


def test_minimum_length_counts_characters():
    assert words("a ab 狗 北京 é", minimum_length=2) == [["ab", "北京"]]


def test_lemmas_of_a_language_leave_other_words_alone():
    queries = ["Dogs dog PUPPIES", "geese 小狗 iphone4 ghjkls", "running wolves"]
    assert words(*queries, lemmas="en") == [["dog", "puppy"], ["goose", "小狗", "iphone4", "ghjkls"], ["run", "wolf"]]
    assert words("Hunde Katzen", lemmas="de") == [["hund", "katze"]]


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        ("el", "σκύλος σκύλοι σκύλους ΣΚΎΛΟΥ", ["σκύλοσ"]),
        ("el", "«ΣΚΎΛΟΥΣ.γάτες»", ["σκύλοσ", "γάτα"]),  # the word ends at the dot, so its last letter is ς, not σ
        ("de", "Füße FÜẞE Fu\u0308ße füße", ["fuss"]),
        ("de", "Straßen straße große", ["strasse", "gross"]),
        ("tr", "KEDİLER köpekler ghjßkls", ["kedi\u0307ler", "köpek", "ghjsskls"]),
    ],
)
def test_lemmas_are_looked_up_before_folding_and_folded_after_it(language, query, expected):
    assert words(query, lemmas=language) == [expected]
    assert [normalise_text(word) for word in expected] == expected


@pytest.mark.parametrize(
    ("language", "stop_words", "query", "expected"),
    [
        ("en", "was\ndog\n", "dogs was wolves", ["wolf"]),
        ("el", "σκύλος\n", "σκύλοι σκύλος σκύλοσ γάτες", ["γάτα"]),
        ("de", "GROSSE\nFuß\n", "große Füße Hunde", ["hund"]),
    ],
)
def test_stop_words_are_left_out_as_words_and_as_lemmas(tmp_path, language, stop_words, query, expected):
    (tmp_path / "stop.txt").write_text(stop_words, encoding="utf-8")
    assert words(query, lemmas=language, stop_words=str(tmp_path / "stop.txt")) == [expected]


def test_a_language_without_lemmas():
    with pytest.raises(UserError, match=r"lemmas: simplemma has no language 'xx'; English is 'en'"):
        segmenter(lemmas="xx")


def test_user_dictionary_adds_words(tmp_path):
    assert words("柴犬幼崽") == [jieba.lcut("柴犬幼崽")] != [["柴犬幼崽"]]
    (tmp_path / "user.txt").write_text("柴犬幼崽\n", encoding="utf-8")
    assert words("柴犬幼崽", user_dictionary=str(tmp_path / "user.txt")) == [["柴犬幼崽"]]


def test_dictionary_replaces_jiebas_even_by_an_older_file(tmp_path):
    dictionary = tmp_path / "dictionary.txt"
    dictionary.write_text("柴犬幼 100 n\n崽 5 n\n", encoding="utf-8")
    assert words("柴犬幼崽", dictionary=str(dictionary)) == [["柴犬幼", "崽"]]
    dictionary.write_text("柴犬 100 n\n幼崽 100 n\n", encoding="utf-8")
    os.utime(dictionary, (0, 0))
    assert words("柴犬幼崽", dictionary=str(dictionary)) == [["柴犬", "幼崽"]]


@pytest.mark.parametrize("parameter", ["stop_words", "dictionary", "user_dictionary"])
def test_missing_and_undecodable_files(tmp_path, parameter):
    with pytest.raises(UserError, match=r"nowhere: no such file; expected a UTF-8 file"):
        segmenter(**{parameter: "nowhere"})
    (tmp_path / "latin").write_bytes("chien\nch\xeane".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin: not UTF-8 \(byte 8\); convert it first"):
        segmenter(**{parameter: str(tmp_path / "latin")})


def test_bad_dictionary_line(tmp_path):
    (tmp_path / "dictionary").write_text("狗 3 n\n狗狗 many\n", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape("not a jieba dictionary: invalid dictionary entry")):
        segmenter(dictionary=str(tmp_path / "dictionary"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minimum_length": 0}, "segment.minimum_length = 0: Input should be greater than or equal to 1"),
        ({"stopwords": "x"}, "unknown parameter segment.stopwords .*known: stop_words, dictionary"),
    ],
)
def test_parameter_errors(changes, message):
    with pytest.raises(ParamsError, match=message):
        segmenter(**changes)
