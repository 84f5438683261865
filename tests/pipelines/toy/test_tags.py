"""Both a user's earlier tags and the picture predict the user's next tags; measured here as in a recommender."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import pytest

from pipelines.toy.animals import ANIMALS
from pipelines.toy.facts import View
from pipelines.toy.tag_words import tag_words
from pipelines.toy.tags import Tag, Tagged, TagParams, tags_of, write_tags
from pipelines.toy.users import HABITS, OWN_WORDS, PLURALS, TOPICS, draw_user

K = 5  # number of tags that a recommender guesses
PARAMS = TagParams(users=120, per_image=3, wrong=0.08)
COPIES = 25  # pictures of each view, so that the log's users have a history
KINDS = pytest.mark.parametrize("kind", ANIMALS)


@pytest.fixture(scope="module")
def logs(views: dict[str, list[View]]) -> dict[str, tuple[dict[str, View], list[Tag]]]:
    """Return for each kind of animals pictures by id, and the tags that users wrote for them."""
    found = {}
    for kind, animals in ANIMALS.items():
        pictures = [Tagged(f"{n}-{copy}", view) for copy in range(COPIES) for n, view in enumerate(views[kind])]
        found[kind] = (dict(pictures), write_tags(pictures, animals, PARAMS, seed=7))
    return found


def normal(tag: str) -> str:
    """Return a tag in normal spelling: small letters, no separators, singular."""
    joined = re.sub("[ _-]", "", tag.lower())
    for singular, plural in PLURALS.items():
        if joined.endswith(plural):
            return joined.removesuffix(plural) + singular
    return joined


def hit_rates(pictures: Mapping[str, View], log: list[Tag]) -> dict[str, float]:
    """Return, by guesser, the share of the tags in the second half of each user's pictures that are among K guesses.

    The guessers use the counts of all tags; the user's own tags in the first half; the picture (a tag is likelier if it
    often comes with a fact of the picture); both. Spelling is ignored; mean over the users of at least twenty pictures.
    """
    by_user: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in log:
        by_user[row.user_id].setdefault(row.image_id, []).append(normal(row.tag))
    facts = {image_id: {fact[:2] for fact in view.facts()} for image_id, view in pictures.items()}
    popular, own, with_tag, with_fact = Counter[str](), defaultdict(Counter), defaultdict(Counter), Counter()  # type: ignore[var-annotated]
    num_past, later = 0, []
    for user, tagged in by_user.items():
        for index, (image_id, tags) in enumerate(tagged.items()):
            if index >= len(tagged) / 2:
                later.append((user, image_id, tags))
                continue
            num_past += 1
            popular.update(tags)
            own[user].update(tags)
            with_fact.update(facts[image_id])
            for tag in tags:
                with_tag[tag].update(facts[image_id])
    needs = {}
    for tag, counts in with_tag.items():
        lift, fact = max(
            ((n + 1) / (popular[tag] + 2) * (num_past + 2) / (with_fact[fact] + 1), fact) for fact, n in counts.items()
        )
        if popular[tag] >= 3 and lift > 1.5 and counts[fact] >= 0.75 * popular[tag]:
            needs[tag] = fact, lift
    rates = defaultdict(list)
    per_user = defaultdict(lambda: defaultdict(list))  # type: ignore[var-annotated]
    for user, image_id, tags in later:
        if len(by_user[user]) < 20:
            continue
        seen = {t: (needs[t][1] if needs[t][0] in facts[image_id] else 0.1) if t in needs else 1.0 for t in popular}
        mine = {tag: own[user][tag] + 2 * popular[tag] / popular.total() for tag in popular}
        for guesser, score in {
            "popular": popular,
            "habit": mine,
            "picture": {tag: popular[tag] * seen[tag] for tag in popular},
            "both": {tag: mine[tag] * seen[tag] for tag in popular},
        }.items():
            guesses = sorted(score, key=lambda tag: (-score[tag], tag))[:K]
            per_user[user][guesser] += [tag in guesses for tag in tags]
    for guessed in per_user.values():
        for guesser, hits in guessed.items():
            rates[guesser].append(np.mean(hits))
    return {guesser: float(np.mean(found)) for guesser, found in rates.items()}


@KINDS
def test_habit_and_picture_both_predict_the_next_tags(kind: str, logs: dict) -> None:
    rates = hit_rates(*logs[kind])
    expected = {"popular": 0.08, "habit": 0.31, "picture": 0.144, "both": 0.34}
    assert rates == pytest.approx(expected, abs=0.025)
    assert rates["both"] > rates["habit"] + 0.02


@KINDS
def test_times_are_ordered_and_no_tag_comes_twice(kind: str, logs: dict) -> None:
    pictures, log = logs[kind]
    assert log == sorted(log, key=lambda row: (row.time, row.user_id))
    times: dict[str, int] = {}
    for row in log:
        assert row.time > times.get(row.user_id, 0)
        times[row.user_id] = row.time
    assert 1_577_836_800 <= log[0].time < log[-1].time < 1_893_456_000  # 2020 to 2029
    assert len({row[:3] for row in log}) == len(log)
    assert {row.image_id for row in log} <= set(pictures)
    together = Counter((row.user_id, row.image_id) for row in log)
    users_of, pictures_of = (Counter(pair[n] for pair in together) for n in (1, 0))
    assert np.mean(list(users_of.values())) == pytest.approx(3, rel=0.15)  # pictures without tags are not counted
    assert len(users_of) > 0.9 * len(pictures)
    most, *_, least = sorted(pictures_of.values(), reverse=True)
    assert (most > 0.3 * len(pictures), least) == (True, 1)
    tags_by = Counter(row.user_id for row in log)
    assert sum(number == 1 for number in tags_by.values()) >= 6  # the share PASSERS_BY


def true_tags(view: View, language: str, nouns: tuple[str, str]) -> set[str]:
    """Return every tag that is true of a picture, in normal spelling."""
    topics = (topic for topic in TOPICS if topic != "own")
    return {normal(tag) for topic in topics for words in tag_words(view, topic, language, nouns) for tag in words}


@KINDS
@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_tags_are_the_users_own_or_true_or_wrong_as_often_as_asked(
    kind: str, wrong: float, views: dict[str, list[View]]
) -> None:
    animals = ANIMALS[kind]
    number = false = 0
    for n in range(60):
        user, stream = draw_user(3, n), np.random.default_rng(n)
        for view in views[kind]:
            tags = tags_of(user, view, 3, animals, wrong, stream)
            assert 1 <= len(tags) <= 3
            assert len(set(tags)) == len(tags)
            about = [tag for tag in map(normal, tags) if tag not in set(map(normal, user.own_words))]
            if user.habit == "hoarding":
                assert not about
            true = true_tags(view, user.language, animals.nouns)
            number += len(about)
            false += sum(tag not in true for tag in about)
    # Many tags of another picture of the domain are also true of this one: the animals' noun, standing, short legs.
    assert 0.4 * wrong <= false / number <= wrong


def test_habits_show_in_what_is_written(views: dict[str, list[View]]) -> None:
    """The main topic of a user's habit has a third or more of the tags, of six topics."""
    for n in range(40):
        user, stream = draw_user(3, n), np.random.default_rng(n)
        topic = TOPICS[HABITS[user.habit].index(max(HABITS[user.habit]))]
        hits = total = 0
        for view in views["dogs"]:
            tags = [normal(tag) for tag in tags_of(user, view, 4, ANIMALS["dogs"], 0, stream)]
            words = (
                [(word,) for word in OWN_WORDS[user.language]]
                if topic == "own"
                else tag_words(view, topic, user.language, ANIMALS["dogs"].nouns)
            )
            names = {normal(tag) for same in words for tag in same}
            hits, total = hits + sum(tag in names for tag in tags), total + len(tags)
        assert hits / total > (0.3 if topic != "own" else 0.99), user


def test_spellings_are_as_on_real_sites(logs: dict) -> None:
    tags = Counter(row.tag for row in logs["dogs"][1])
    written = defaultdict(set)
    for tag in tags:
        written[normal(tag)].add(tag)
    assert {"red fur", "redfur"} & set(tags)
    assert len([forms for forms in written.values() if len(forms) >= 3]) > 30  # such as tree, Trees, TREE
    shares = {
        "joined": sum(n for tag, n in tags.items() if tag in {t.replace(" ", "") for t in tags if " " in t}),
        "capitals": sum(n for tag, n in tags.items() if tag != tag.lower()),
        "chinese": sum(n for tag, n in tags.items() if not tag.isascii()),
    }
    assert all(0.03 < n / tags.total() < 0.6 for n in shares.values()), shares
