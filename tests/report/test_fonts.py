"""Letters that DejaVu Sans lacks are drawn with an installed font; without one, one warning names what to install."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from report import fonts
from report.plots import picture


def write_font(path: Path, family: str, letters: str) -> None:
    """Write a font whose letters are filled rectangles of different heights."""
    pens = {".notdef": TTGlyphPen(None)}
    for number, letter in enumerate(letters):
        pen = pens[f"u{ord(letter):X}"] = TTGlyphPen(None)
        pen.moveTo((100, 0))
        for point in ((100, 200 + 150 * number), (900, 200 + 150 * number), (900, 0)):
            pen.lineTo(point)
        pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(pens))
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):X}" for letter in letters})
    builder.setupGlyf({name: pen.glyph() for name, pen in pens.items()})
    builder.setupHorizontalMetrics(dict.fromkeys(pens, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder with fonts on a machine that has none, except for matplotlib's own."""
    own = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in tmp_path.glob("*.ttf")])
    for cached in (fonts._families_with, fonts._own_font):
        cached.cache_clear()
    monkeypatch.setattr(fonts, "_warned", set())
    font_manager.fontManager._findfont_cached.cache_clear()
    yield tmp_path
    fonts._families_with.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def drawn(text: str, **options: object) -> np.ndarray:
    """Return the pixels of a picture with a text."""

    def draw(figure: Figure) -> None:
        figure.text(0.1, 0.4, text, fontsize=20, **options)

    with Image.open(io.BytesIO(picture(draw, 2, 1))) as image:
        return np.asarray(image.convert("L"))


def families(text: str) -> Sequence[str]:
    return fonts.families_for(text)


def test_letters_that_dejavu_has_need_no_other_font(machine: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_font(machine / "other.ttf", "Other", "aß猫")
    assert families("dog, Füße, λ ≤ τ, собака, كلب\n\t\u200b\u00ad") == ["DejaVu Sans"]
    assert caplog.messages == []


def test_chinese_letters_are_drawn_with_an_installed_font(machine: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_font(machine / "cat.ttf", "Cats", "猫狗")
    assert families("dog 猫") == ["DejaVu Sans", "Cats"]
    cat, dog = drawn("猫"), drawn("狗")
    assert (cat < 128).sum() > 100
    assert not np.array_equal(cat, dog)  # boxes would be the same
    assert (drawn("猫", fontweight="bold") < 128).sum() > 100
    assert caplog.messages == []


def test_preferred_families_come_first_and_then_as_many_as_are_needed(machine: Path) -> None:
    write_font(machine / "1.ttf", "A Rare One", "猫한ไ")
    write_font(machine / "2.ttf", "WenQuanYi Micro Hei", "猫狗")
    write_font(machine / "3.ttf", "Noto Sans CJK SC", "狗")
    assert families("狗") == ["DejaVu Sans", "Noto Sans CJK SC"]
    assert families("猫") == ["DejaVu Sans", "WenQuanYi Micro Hei"]
    assert families("ไ한猫狗") == ["DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "A Rare One"]


def test_without_a_font_one_warning_names_what_to_install(
    machine: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    for text in ("猫", "狗 and 猫", "ไทย"):
        drawn(text)
    (message,) = caplog.messages
    assert message == (
        "no installed font has these letters of a plot, which are drawn as boxes: 猫; for Chinese, Japanese and Korean "
        "install one, such as Debian's and Ubuntu's package fonts-noto-cjk, and run the command again"
    )
    assert [str(warning.message) for warning in recwarn] == []


def test_a_font_that_cannot_be_read_is_passed_over(machine: Path) -> None:
    (machine / "bad.ttf").write_bytes(b"no font")
    write_font(machine / "good.ttf", "Good", "猫")
    assert families("猫") == ["DejaVu Sans", "Good"]
    (machine / "good.ttf").unlink()  # after matplotlib listed it
    fonts._families_with.cache_clear()
    assert families("猫") == ["DejaVu Sans"]


def test_an_installed_font_draws_chinese(caplog: pytest.LogCaptureFixture) -> None:
    if not any(entry.name in fonts.PREFERRED for entry in fonts._installed()):
        pytest.skip("no font with Chinese letters is installed (Debian: fonts-noto-cjk)")
    words = [drawn(word) for word in ("哈士奇", "金毛犬", "ねこ", "고양이")]
    assert all(not np.array_equal(one, other) for number, one in enumerate(words) for other in words[:number])
    assert caplog.messages == []
