import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from base.markdown import cell, code, escape

# CommonMark with tables, bare addresses as links and HTML as in Prefect's page.
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
NASTY = [
    "day-1.tsv", "a`b", "``", "`", " ", "", " a ", "a|b", "a\nb", "a\r\n\r\n# b", "<script>alert(1)</script>", "[x](y)",
    "![x](javascript:alert(1))", "**x**", "__x__", "~~x~~", "\\", "\\`", "&lt;", "&#60;", "# x", "- x", "1. x", "> x",
    "http://evil.example", "www.evil.example", "x@evil.example", "\x1b[31mred", "a\u2028b", "\udcff", "$x$", "犬.tsv",
]  # fmt: skip


def shown(text: str) -> str:
    """Return the text that a reader should see."""
    unseen = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators
    return "".join(ascii(sign)[1:-1] if unicodedata.category(sign) in unseen else sign for sign in text)


texts = st.text(st.characters() | st.sampled_from("`|\\<>&[]()*_~\n"), max_size=12)


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_name_stays_text(text: str) -> None:
    check_escape(text)
    check_code(text)


@given(texts)
def test_any_name_stays_text(text: str) -> None:
    check_escape(text)
    check_code(text)


def check_escape(text: str) -> None:
    paragraph = MARKDOWN.render(f"a{escape(text)}b")
    assert paragraph == f"<p>a{html.escape(shown(text)).replace('&#x27;', chr(39))}b</p>\n"


def check_code(text: str) -> None:
    item = MARKDOWN.render(f"- x: {code(text)}, y\n")
    inside = html.escape(shown(text) or " ").replace("&#x27;", "'")
    assert item == f"<ul>\n<li>x: <code>{inside}</code>, y</li>\n</ul>\n"


@given(texts)
def test_any_cell_is_one_cell_without_html(text: str) -> None:
    table = MARKDOWN.render(f"| a | b |\n| --- | --- |\n| {cell(text)} | 2 |\n")
    assert len(re.findall("<tr>", table)) == 2
    assert len(re.findall("<td>", table)) == 2
    assert "<td>2</td>" in table
    assert "<script" not in table
