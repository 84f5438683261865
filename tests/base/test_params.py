from pathlib import Path

import pytest
from pydantic import Field
from ruamel.yaml import YAML

from base.params import (
    Params,
    ParamsError,
    load_section,
    read_params,
    read_seeds,
    validate_section,
)


class Inner(Params):
    rate: float = Field(description="", gt=0, le=1)


class Outer(Params):
    steps: int = Field(description="", ge=1)
    inner: Inner
    note: str | None = Field(default=None, description="")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_section_is_read_as_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {steps: 3, inner: {rate: 1e-05}}\nevaluate: {batch_size: 1}\n")
    section = load_section(Outer, "train", path)
    assert section == Outer(steps=3, inner=Inner(rate=0.00001))
    with pytest.raises(ValueError, match="frozen"):
        section.steps = 4  # type: ignore[misc]


def test_what_dvc_writes_is_read_back_as_a_number(tmp_path: Path) -> None:
    # DVC's own writer turns 0.00001 into 1e-05, which YAML 1.1 readers take for a string.
    path = tmp_path / "p.yaml"
    YAML().dump({"train": {"steps": 3, "inner": {"rate": 0.00001}}}, path)
    assert "1e-05" in path.read_text()
    assert load_section(Outer, "train", path).inner.rate == 0.00001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {steps: 3, inner: {rate: 0.5}, stepz: 4}", "train.stepz .value 4.; known: steps, inner, note"),
        ("train: {steps: 3, inner: {rate: 0.5, extra: x}}", "unknown parameter train.inner.extra"),
        ("train: {steps: 3}", "parameter train.inner is missing"),
        ("train:", "parameter train.steps is missing"),
        ("train: {steps: 0, inner: {rate: 0.5}}", "train.steps = 0: Input should be greater than or equal to 1"),
        ("train: {steps: 3, inner: {rate: 1.5}}", "train.inner.rate = 1.5: Input should be less than or equal to 1"),
        ("train: {steps: '3', inner: {rate: 0.5}}", "train.steps = '3': Input should be a valid integer"),
        ("train: {steps: 3.0, inner: {rate: 0.5}}", "train.steps = 3.0: Input should be a valid integer"),
        ("train: {steps: 3, inner: {rate: yes}}", "train.inner.rate = 'yes'"),
        ("train: []", r"train = \[\]: Input should be a valid dictionary"),
        ("train: false", "train = False: Input should be a valid dictionary"),
        ("{}", "section 'train' is missing; see systems.mtmdd.config"),
        ("trian: {}", "unknown section 'trian'; known sections: raw, toys, other_objects, seeds, synthesize"),
        ("- train", "expected a mapping of sections, found list"),
        ("train: {steps: 3", "not YAML: "),
    ],
)
def test_a_bad_file_is_told_with_place_and_value(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ParamsError, match=message) as error:
        load_section(Outer, "train", path)
    assert str(error.value).startswith(str(path))


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ParamsError) as error:
        validate_section(Outer, "train", {"steps": 0, "more": 1}, "here")
    assert str(error.value).splitlines() == [
        "here: train.steps = 0: Input should be greater than or equal to 1",
        "here: parameter train.inner is missing",
        "here: unknown parameter train.more (value 1); known: steps, inner, note",
    ]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml: no such parameter file; .* name one with --params"):
        read_params(tmp_path / "nowhere.yaml")


def test_seeds_are_different_whole_numbers(tmp_path: Path) -> None:
    assert read_seeds(write(tmp_path, "seeds: [2, 0, 7]")) == [2, 0, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: []", r"seeds = \[\]: expected a list"),
        ("seeds: 3", "seeds = 3: expected a list"),
        ("{}", "seeds = None: expected a list"),
        ("seeds: [0, 1, 0]", "one stands there twice"),
        ("seeds: [0, -1]", "-1 is not a whole number >= 0"),
        ("seeds: [true]", "True is not a whole number >= 0"),
        ("seeds: [[1]]", r"\[1\] is not a whole number >= 0"),
    ],
)
def test_bad_seeds_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        read_seeds(write(tmp_path, text))
