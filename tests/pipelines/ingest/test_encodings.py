"""Text in other encodings: what is read, what is bad, what is guessed."""

import pytest

from pipelines.ingest.encodings import as_utf8, guessed_encoding

TEXTS = {
    "gb18030": "im1\t手机壳\t3\nim2\t红色连衣裙\t2\nim3\t白色小狗\t5\n",
    "big5": "im1\t紅色連衣裙\t3\nim2\t白色小狗的圖片\t2\n",
    "shift_jis": "im1\t白い子犬の写真\t3\nim2\tかわいいネコ\t2\n",
    "euc_kr": "im1\t하얀 강아지 사진\t3\nim2\t귀여운 고양이\t2\n",
    "cp1251": "im1\tбелая собака\t3\nim2\tкрасная кошка\t2\n",
    "cp1252": "im1\tweißer Hund für €\t3\n",
    "utf-16": "im1\t狗\t3\n",
    "utf-16-le": "im1\t狗 dog\t3\n",
    "utf-32": "im1\t🐕\t3\n",
    "iso2022_jp": "im1\t白い子犬\t3\n",
}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("encoding", TEXTS)
def test_text_becomes_utf8_wherever_it_is_cut(encoding, size):
    content = TEXTS[encoding].encode(encoding)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    assert b"".join(as_utf8(chunks, encoding)).decode() == TEXTS[encoding]


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"a\tb\xff\t1\n", "gb18030", b"a\tb\xff\t1\n"),
        (b"a\t\x81\n1\n", "gb18030", b"a\t\x81\n1\n"),
        (b"a\t\x81\t1\n", "ascii", b"a\t\x81\t1\n"),
        ("a\n".encode("utf-16-le") + b"\x0a\xd8" + "b".encode("utf-16-le"), "utf-16-le", b"a\n\xff\\x0a\\xd8b"),
        ("ab".encode("utf-16-le")[:3], "utf-16-le", b"a\xff\\x62"),
    ],
)
def test_what_is_not_text_stays_bytes_that_are_not_utf8(content, encoding, text):
    found = b"".join(as_utf8([content], encoding))
    assert found == text
    with pytest.raises(UnicodeDecodeError):
        found.decode()


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-16", "utf-16-le", "utf-32"])
def test_a_guess_reads_the_text(encoding):
    content = (TEXTS[encoding] * 5).encode(encoding)
    assert content.decode(guessed_encoding(content)) == TEXTS[encoding] * 5


def test_no_guess_for_utf8():
    assert guessed_encoding("im1\t狗\t3\n".encode()) == ""
    assert guessed_encoding(b"im1\tdog\t3\n") == ""
    assert guessed_encoding(b"") == ""
