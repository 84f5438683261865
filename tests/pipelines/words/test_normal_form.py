"""The normal form of texts, with Unicode's own tables as they are in Polars."""

import sys

import polars as pl

from pipelines.words.normal_form import INVISIBLE, normalise_text, visible_text

EVERY = pl.Series([chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF])


def test_invisible_characters_are_unicodes_default_ignorable_ones_except_the_zero_width_space():
    unicodes = EVERY.filter(EVERY.str.contains(r"\p{Default_Ignorable_Code_Point}")).to_list()
    ours = EVERY.filter(EVERY.str.contains(INVISIBLE)).to_list()
    assert ours == [character for character in unicodes if character != "\u200b"]
    assert {"\u00ad", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufe0f", "\u034f", "\u200e", "\u202e"} <= set(ours)


def test_visible_characters_stay():
    visible = EVERY.filter(~EVERY.str.contains(INVISIBLE)).to_list()
    assert [visible_text(one) for one in visible] == visible


def test_removal_comes_before_composition():
    text = "e\u034f\u0301 E\u200d\u0301 e\u0301"  # a joiner would keep the accent apart
    assert normalise_text(visible_text(text)) == "é é é"
