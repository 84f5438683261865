"""Sentences about the toys' pictures, several of each, in English and Chinese; a given share of them is wrong.

A wrong sentence describes a picture that was never drawn, with another animal in it, or is about no picture at all.
"""

from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from base.params import Params
from pipelines.toy import chinese_captions, english_captions
from pipelines.toy.animals import Animals
from pipelines.toy.chinese_captions import write_chinese
from pipelines.toy.english_captions import write_english
from pipelines.toy.facts import View, imagine
from pipelines.toy.streams import pick

OFF_TOPIC_SHARE = 0.3  # share of the wrong sentences that are about no picture
TRIES = 20  # most attempts to write a sentence that the picture does not have yet


class CaptionParams(Params):
    """Section `synthesize.captions`: the number of a picture's sentences, and their kinds."""

    least: int = Field(description="fewest sentences of a picture", ge=1, le=100)
    most: int = Field(description="most sentences of a picture", ge=1, le=100)
    chinese: float = Field(description="share of the sentences that are Chinese", ge=0, le=1)
    wrong: float = Field(description="share of the sentences that are not about the picture", ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least = {self.least} is more than most = {self.most}")
        return self


class Caption(NamedTuple):
    """A sentence, and its language: en or zh."""

    language: str
    sentence: str


def captions_of(
    view: View,
    animals: Animals,
    params: CaptionParams,
    stream: np.random.Generator,
) -> list[Caption]:
    """Write a picture's sentences.

    Args:
        view: of the picture.
        animals: the kind of its animal; wrong sentences are about other animals of this kind.
        params: how many sentences, and of which kinds.
        stream: random numbers.

    Returns:
        Between ``least`` and ``most`` sentences; two are the same only if no new one was found in TRIES attempts.
    """
    captions: list[Caption] = []
    for _ in range(int(stream.integers(params.least, params.most + 1))):
        language = "zh" if stream.random() < params.chinese else "en"
        is_wrong = stream.random() < params.wrong
        for _ in range(TRIES):
            seen = imagine(view, animals, stream) if is_wrong else view
            caption = Caption(language, write(seen, language, is_wrong, animals.nouns, stream))
            if caption not in captions:
                break
        captions.append(caption)
    return captions


def write(view: View, language: str, is_wrong: bool, nouns: tuple[str, str], stream: np.random.Generator) -> str:
    """Write one sentence in a language; some wrong sentences are about no picture."""
    is_off_topic = is_wrong and stream.random() < OFF_TOPIC_SHARE
    if language == "zh":
        return pick(chinese_captions.OFF_TOPIC, stream) if is_off_topic else write_chinese(view, nouns[1], stream)
    return pick(english_captions.OFF_TOPIC, stream) if is_off_topic else write_english(view, nouns[0], stream)
