"""Captions are true of the picture in both languages, vary in what they mention, and are wrong as often as asked."""

from collections import Counter

import numpy as np
import pytest
from caption_reader import attributes_of, read_chinese, read_english

from pipelines.toy import chinese_captions, english_captions
from pipelines.toy.animals import ANIMALS
from pipelines.toy.captions import Caption, CaptionParams, captions_of
from pipelines.toy.facts import View

KINDS = pytest.mark.parametrize("kind", ANIMALS)


def write(kind: str, views: list[View], seeds: int = 4, **changed: float) -> list[tuple[View, list[Caption]]]:
    params = CaptionParams(**{"least": 3, "most": 5, "chinese": 0.5, "wrong": 0, **changed})  # type: ignore[arg-type]
    animals = ANIMALS[kind]
    return [
        (view, captions_of(view, animals, params, np.random.default_rng((seed, index))))
        for seed in range(seeds)
        for index, view in enumerate(views)
    ]


def read(kind: str, view: View, caption: Caption) -> set[tuple[str, str]]:
    categories = ANIMALS[kind].categories
    if caption.language == "zh":
        found = read_chinese(caption.sentence, {animal.chinese: animal.name for animal in categories})
    else:
        found = read_english(caption.sentence, {animal.name for animal in categories})
    return attributes_of(found, set(view.animal.attributes()))


def true_of(view: View) -> set[tuple[str, str]]:
    facts = {fact[:2] for fact in view.facts()}
    any_things = {("any things", value) for group, value in facts if group in ("thing", "things")}
    return facts | any_things | {("kin", view.animal.name.split()[-1])}


@KINDS
def test_all_that_is_said_is_true_and_nobody_says_it_all(kind: str, views: dict[str, list[View]]) -> None:
    mentions: dict[str, Counter[str]] = {"en": Counter(), "zh": Counter()}
    sentences = Counter[str]()
    for view, captions in write(kind, views[kind]):
        for caption in captions:
            found = read(kind, view, caption)
            assert found < true_of(view), (caption, found - true_of(view))
            mentions[caption.language].update(group for group, _ in found)
            mentions[caption.language]["nothing"] += not found
            sentences[caption.language] += 1
    parts = set(views[kind][0].animal.attributes()) - {"build", "legs", "head", "beak"}
    for language, counts in mentions.items():
        shares = {group: counts[group] / sentences[language] for group in counts}
        assert parts | {"creature", "pose", "scene", "light", "extra", "extra colour"} <= set(shares)
        assert shares["nothing"] < 0.02
        assert 0.3 < shares["scene"] < 0.95
        assert 0.35 < shares["colour"] < 0.9
        assert 0.15 < shares["creature"] < 0.35
    assert mentions["en"]["things"] > mentions["en"]["thing"] / 10 > 0


@KINDS
def test_captions_and_labels_agree(kind: str, views: dict[str, list[View]]) -> None:
    """If a caption and a label name a value of the same group, which has one value only, it is the same value."""
    both = 0
    for view, captions in write(kind, views[kind], seeds=2):
        facts, labels = dict(fact[:2] for fact in view.facts()), set(view.labels())
        for found in (dict(read(kind, view, caption)) for caption in captions):
            for group in ("creature", "colour", "pattern", "scene", "light", "extra"):
                if group in found and facts.get(group) in labels:
                    assert found[group] in labels
                    both += 1
    assert both > 300


@KINDS
def test_as_many_as_asked_for_all_different_and_varied(kind: str, views: dict[str, list[View]]) -> None:
    written = write(kind, views[kind])
    numbers = Counter(len(captions) for _, captions in written)
    assert set(numbers) == {3, 4, 5}
    assert all(len(set(captions)) == len(captions) for _, captions in written)
    sentences = [caption for _, captions in written for caption in captions]
    assert len(set(sentences)) > 0.85 * len(sentences)
    chinese = sum(caption.language == "zh" for caption in sentences) / len(sentences)
    assert chinese == pytest.approx(0.5, abs=0.07)  # standard error 0.017
    for caption in sentences:
        assert not set(caption.sentence) & set('\t\n"{}')
        assert caption.sentence.isascii() == (caption.language == "en")
        assert "  " not in caption.sentence


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_as_many_are_wrong_as_asked_for(language: str, wrong: float, views: dict[str, list[View]]) -> None:
    written = write("dogs", views["dogs"], seeds=8, wrong=wrong, chinese=float(language == "zh"))
    off_topic = (english_captions if language == "en" else chinese_captions).OFF_TOPIC
    number = false = unrelated = 0
    for view, captions in written:
        for caption in captions:
            number += 1
            unrelated += caption.sentence in off_topic
            false += caption.sentence not in off_topic and not read("dogs", view, caption) <= true_of(view)
    assert unrelated / number == pytest.approx(0.3 * wrong, abs=0.03)
    # By chance, a sentence about another animal may be true of this one.
    assert 0.75 * 0.7 * wrong <= false / number <= 0.7 * wrong + 0.03 * (wrong > 0)


def test_more_or_fewer_pictures_leave_a_picture_its_captions(views: dict[str, list[View]]) -> None:
    animals, params = ANIMALS["birds"], CaptionParams(least=3, most=5, chinese=0.25, wrong=0.05)
    first, again, other = (
        captions_of(views["birds"][0], animals, params, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
