"""Split queries into words, script by script."""

import os
import re
import sys
import unicodedata
from pathlib import Path

import jieba
import polars as pl
import pyarrow as pa
import pytest
from click_oracles import words_of
from hypothesis import given, settings
from hypothesis import strategies as st

from base.console import UserError
from base.params import ParamsError, validate_section
from pipelines.words import segmentation
from pipelines.words.normal_form import INVISIBLE, normalise_text
from pipelines.words.segmentation import EMOJI, Segmenter, SegmentParams

CASES = Path(__file__).parents[3].parent / "shared" / "cases"


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


INVISIBLES = "\u00ad\u034f\u200c\u200d\u200e\u2060\ufe0f\ufeff\U000e0100"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("co\u00adoperate cooperate", ["cooperate"]),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ["\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"]),
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dc1\u0dca\u0dbb\u0dd3", ["\u0dc1\u0dca\u0dbb\u0dd3"]),
        ("\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937", ["\u0915\u094d\u0937"]),
        ("\u0d28\u0d4d\u200d", ["\u0d28\u0d4d"]),
        ("葛\U000e0100城", ["葛城"]),
        ("手\u200d机 手\u2060机", ["手机"]),
        ("\ufeffcat c\ufeffat", ["cat"]),
        ("\u202bשלום\u200f\u202c", ["שלום"]),
        ("abc\u200d \u200ddef \u200d", ["abc", "def"]),
        ("\u3164 a\u115fb", ["ab"]),
        ("หมา\u200bน่ารัก a\u200bb", ["หมา", "น่าร\u0e31ก", "a", "b"]),
    ],
    ids=[
        *("soft hyphen", "Persian, ZWNJ", "Sinhala, ZWJ", "Devanagari, both", "Malayalam, ZWJ at the end"),
        *("ideographic variation", "Chinese", "byte-order mark", "Hebrew, directions", "at edges", "Hangul filler"),
        "zero-width space separates",
    ],
)
def test_invisible_characters_are_no_boundaries_except_the_zero_width_space(query, expected):
    assert words(query) == [expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("1\ufe0f\u20e3 one 2\u20e3 #\ufe0f\u20e3", ["one"]),
        ("top1\ufe0f\u20e30\ufe0f\u20e3list", ["top", "list"]),
        ("\u2139\ufe0f info \u24c2\ufe0f \u3299\ufe0f\u2122\ufe0f", ["info"]),
        ("\u2122 \u24c2", ["tm", "m"]),  # these two are emoji only with the variation selector
        ("\U0001f21a\U0001f250\U0001f202\ufe0f 狗", ["狗"]),
        ("dog\U0001f469\U0001f3fd\u200d\U0001f4bbcat", ["dog", "cat"]),
        ("\U0001f1e9\U0001f1ea \U0001f3f4\U000e0067\U000e0062\U000e007f", []),
        ("1 12 #1 *", ["1", "12"]),
    ],
)
def test_emoji_are_no_words_and_separate_words(query, expected):
    assert words(query) == [expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("人々", ["人々"]),
        ("人々が 日々の", ["人々", "が", "日々", "の"]),
        ("佐々木希 代々木", ["佐々木", "希", "代々木"]),
        ("山々 山山", ["山々", "山"]),
        ("時〻", ["時〻"]),
        ("部分々々", ["部分々々"]),
        ("々 タ々", ["々", "タ"]),
    ],
)
def test_an_iteration_mark_is_a_part_of_the_word_before_it(query, expected):
    assert words(query) == [expected]


def test_a_capital_i_with_dot_is_folded_as_unicode_does_without_a_language():
    assert words("İstanbul ISTANBUL ıstanbul istanbul i\u0307stanbul") == [["i\u0307stanbul", "istanbul", "ıstanbul"]]


def _former_words(query: str) -> list[str]:
    """Segment one query as before invisible characters, emoji and iteration marks had rules of their own."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", query).casefold())
    other, han = r"[[\p{L}\p{N}]--\p{Han}][[\p{L}\p{N}\p{M}]--\p{Han}]*", r"[\p{Han}&&[\p{L}\p{N}]]+"
    found = []
    for run in pl.Series([text]).str.extract_all(f"{other}|{han}")[0]:
        found += jieba.lcut(run) if pl.Series([run]).str.contains(han)[0] else [run]
    return list(dict.fromkeys(found))


EVERY = pl.Series([chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF])
SPECIAL = set(EVERY.filter(EVERY.str.contains(rf"{EMOJI}|{INVISIBLE}|[\x{{20E3}}々〻]|\p{{Cn}}")))
ordinary = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cn"]).filter(lambda character: character not in SPECIAL),
        st.sampled_from("aB 09é狗金毛犬北京ータガกे\u0301\u200b\u0600"),
    ),
    max_size=20,
)


@settings(max_examples=500)
@given(st.lists(ordinary, max_size=5))
def test_words_of_ordinary_text_are_what_they_were(queries):
    assert words(*queries) == [_former_words(query) for query in queries]


@settings(max_examples=300)
@given(st.text(st.sampled_from("aB 1é狗金毛犬人々ー-" + INVISIBLES), max_size=15))
def test_invisible_characters_change_no_word(query):
    visible = "".join(character for character in query if character not in INVISIBLES)
    assert words(query) == words(visible)


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not beside the repository")
def test_words_of_the_shared_cases():
    rows = [line.split("\t")[:2] for line in (CASES / "words.tsv").read_text(encoding="utf-8").split("\n") if line]
    found = dict(zip((name for name, _ in rows), words(*(query for _, query in rows)), strict=True))
    for name, expected in {
        **{"hy4": ["cooperate"], "emoji4": ["one"], "emoji2": [], "zw1": ["a", "b"], "zw4": ["abc"], "zw5": ["cat"]},
        **{"zw2": ["میخواهم"], "jp5": ["人々"], "hansurname": ["葛城"], "turk1": ["i\u0307stanbul"]},
    }.items():
        assert found[name] == expected, name
    assert len(found["zw3"]) == 1


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


@given(st.lists(st.text(st.sampled_from("aBz09ßéЖ 　-_.'狗金毛犬北京ータガ가Ａ２²\u00a0"), max_size=15), max_size=8))
def test_equals_python_and_jieba_where_there_are_no_combining_marks(queries):
    assert words(*queries) == [words_of(query) for query in queries]


@settings(max_examples=300)
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


@pytest.mark.parametrize(
    ("entry", "query", "expected"),
    [
        ("don't", "Don’t DON'T the t don", ["the", "t", "don"]),
        ("t-shirt", "red t-shirt shirt tshirt", ["red", "shirt", "tshirt"]),
        ("new york\nnew york city", "new york city of new york new", ["of", "new"]),
        ("a b\nb c", "a b c b c", ["c"]),  # from left to right; a phrase's words are used once
        ("a a b", "a a a b", ["a"]),
        ("可爱的", "可爱的狗 可爱狗", ["狗", "可爱"]),
        ("T恤", "红色T恤 恤", ["红色", "恤"]),
        ("co\u00adoperate\n人々", "cooperate 人々 人", ["人"]),
        ("l'", "l'eau", ["eau"]),
        ("!!!\n\n", "don't", ["don", "t"]),
    ],
)
def test_stop_words_are_segmented_as_queries_are(tmp_path, entry, query, expected):
    (tmp_path / "stop.txt").write_text(entry, encoding="utf-8")
    assert words("other", query, "", stop_words=str(tmp_path / "stop.txt")) == [["other"], expected, []]


def test_stop_phrases_are_folded_before_the_lemmas(tmp_path):
    (tmp_path / "stop.txt").write_text("isn't\nGROSSE Straße\n", encoding="utf-8")
    stop_words = str(tmp_path / "stop.txt")
    assert words("ISN'T dogs", "T dogs isn", stop_words=stop_words, lemmas="en") == [["dog"], ["t", "dog", "be"]]
    assert words("große STRASSE Hunde", stop_words=stop_words, lemmas="de") == [["hund"]]


@settings(max_examples=200)
@given(st.lists(st.text("ab", min_size=1, max_size=2), max_size=12), st.lists(st.text("ab ", min_size=1), max_size=4))
def test_phrases_are_left_out_as_a_regular_expression_would(query, phrases):
    entries = sorted({tuple(phrase.split()) for phrase in phrases if len(phrase.split()) > 1}, key=len, reverse=True)
    by_first: dict[str, list[list[str]]] = {}
    for entry in entries:
        by_first.setdefault(entry[0], []).append(list(entry))
    pattern = "|".join("".join(f"<{word}>" for word in entry) for entry in entries) or "(?!)"
    rest = re.sub(pattern, "", "".join(f"<{word}>" for word in query))
    assert segmentation.without_phrases(query, by_first) == re.findall("<(.+?)>", rest)


@pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not beside the repository")
def test_stop_words_of_the_shared_cases():
    queries = [line.split("\t")[1] for line in (CASES / "stop_words_log.tsv").read_text().splitlines()]
    assert words(*queries, stop_words=str(CASES / "stop_words.txt")) == [["cat"], ["dog"]]


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
    with pytest.raises(UserError, match=re.escape("dictionary:2: no frequency: '狗狗 many'; a line is: word, space")):
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
