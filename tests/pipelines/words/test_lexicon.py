import math
from pathlib import Path

import jieba
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from base.console import UserError
from pipelines.words.category_names import Name, read_names
from pipelines.words.lexicon import build_lexicon, forms_in, write_dictionary
from pipelines.words.segmentation import Segmenter, SegmentParams

SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
SEGMENTER = Segmenter(SEGMENT)


def lexicon_of(*texts: str, variants: bool = True):
    return build_lexicon([Name(text, text) for text in sorted(texts)], SEGMENTER, variants)


def words_in(lexicon, *queries: str) -> list[list[str]]:
    found = forms_in(pa.array(queries), SEGMENTER, lexicon)
    matrix = (found.astype(np.int32) @ lexicon.form_words).toarray()
    words = lexicon.words.to_pylist()
    return [[word for word, number in zip(words, row, strict=True) if number] for row in matrix.tolist()]


def test_weights_and_containment_of_names():
    lexicon = lexicon_of("black cat", "black dog", "big black dog", "tern")
    weights = dict(zip(lexicon.words.to_pylist(), lexicon.weights, strict=True))
    assert weights == pytest.approx(
        {"big": math.log(5), "black": math.log(1 + 4 / 3), "cat": math.log(5), "dog": math.log(3), "tern": math.log(5)}
    )
    names = [name.text for name in lexicon.names]
    pairs = {(names[long], names[short]) for long, short in zip(*lexicon.inside.nonzero(), strict=True)}
    assert pairs == {("big black dog", "black dog")}


def test_a_word_of_two_names_of_one_category_counts_once():
    names = [Name("dog", "dog"), Name("hot dog", "dog"), Name("cat", "cat")]
    lexicon = build_lexicon(sorted(names, key=lambda name: name.category), SEGMENTER, True)
    assert lexicon.categories == ("cat", "dog")
    assert lexicon.weights[lexicon.words.to_pylist().index("dog")] == pytest.approx(math.log(3))


def test_forms_of_words():
    lexicon = lexicon_of("red winged blackbird", "grey wolf", "gray seal", "bichon frisé", "glass", "glasses")
    assert words_in(
        lexicon,
        "redwinged blackbirds", "Gray Wolves", "grey seals", "bichon frise", "BICHON FRISÉ", "a glass", "two glasses",
        "glassess western", "wingedblackbird", "black bird",
    ) == [
        ["blackbird", "red", "winged"], ["gray", "wolf"], ["gray", "seal"], ["bichon", "frise"], ["bichon", "frise"],
        ["glass"], ["glasses"], [], ["blackbird", "winged"], [],
    ]  # fmt: skip
    assert words_in(lexicon_of("grey wolf", variants=False), "gray wolf", "grey wolves", "greywolf") == [
        ["wolf"], ["grey"], ["grey", "wolf"]
    ]  # fmt: skip


def test_chinese_names_are_found_whole_in_queries(tmp_path):
    names = [Name("海岸雪达犬", "海岸雪达犬"), Name("东京塔", "东京塔"), Name("狗", "狗")]
    params = write_dictionary(names, SEGMENTER, tmp_path)
    lexicon = build_lexicon(sorted(names), SEGMENTER, True)
    found = forms_in(pa.array(["漂亮的海岸雪达犬图片", "东京塔夜景", "热狗", "东京"]), Segmenter(params), lexicon)
    forms = lexicon.forms.to_pylist()
    rows = [[forms[i] for i in found.indices[a:b]] for a, b in zip(found.indptr[:-1], found.indptr[1:], strict=True)]
    tokenizer = jieba.Tokenizer()
    for name in names[:2]:
        tokenizer.add_word(name.text)
    assert [tokenizer.lcut(text)[0] for text in ("东京塔夜景", "热狗")] == ["东京塔", "热狗"]
    assert rows[:3] == [["海岸雪达犬"], ["东京塔"], []]  # a hot dog is none


def test_the_own_dictionary_stays(tmp_path):
    (tmp_path / "own.txt").write_text("布偶猫 5\n", encoding="utf-8")
    params = SEGMENT.model_copy(update={"user_dictionary": str(tmp_path / "own.txt")})
    written = write_dictionary([Name("金毛犬", "金毛犬"), Name("布偶猫", "布偶猫")], Segmenter(params), tmp_path)
    lines = Path(str(written.user_dictionary)).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "布偶猫 5"
    assert "金毛犬" in lines
    assert sum(line.startswith("布偶猫") for line in lines) == 1
    assert write_dictionary([Name("cat", "cat")], Segmenter(params), tmp_path) == params


def test_names_are_read_from_text_and_tables(tmp_path):
    (tmp_path / "names.txt").write_text("\ufeff001.Black_footed_Albatross\n\nn02085620-Chihuahua\n", encoding="utf-8")
    (tmp_path / "aliases.tsv").write_text("gooney\tBlack footed albatross\n", encoding="utf-8")
    found = read_names(tmp_path / "names.txt", tmp_path / "aliases.tsv")
    albatross = "black footed albatross"
    assert found == [Name(albatross, albatross), Name("gooney", albatross), Name("chihuahua", "chihuahua")]
    pl.DataFrame({"category": ["b", "a", "b", None]}).write_parquet(tmp_path / "names.parquet")
    assert read_names(tmp_path / "names.parquet", tmp_path) == [Name("a", "a"), Name("b", "b")]
    pl.DataFrame({"name": ["b"]}).write_parquet(tmp_path / "names.parquet")
    for path, message in (("names.parquet", "lacks the column category; it has name"), ("none.txt", "no such list")):
        with pytest.raises(UserError, match=message):
            read_names(tmp_path / path)
    with pytest.raises(UserError, match="no such file; expected lines: alias, tab, category"):
        read_names(tmp_path / "names.txt", tmp_path / "none.tsv")
