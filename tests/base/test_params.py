from pathlib import Path

import pytest
from pydantic import Field
from ruamel.yaml import YAML

from base import params
from base.params import (
    KEYS,
    Params,
    ParamsError,
    load_section,
    read_params,
    read_seeds,
    system_names,
    validate_section,
)

ROOT = Path(__file__).parents[2]


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
    path = write(tmp_path, "ingest: {steps: 3, inner: {rate: 1e-05}}\nseeds: [0]\n")
    section = load_section(Outer, "ingest", path)
    assert section == Outer(steps=3, inner=Inner(rate=0.00001))
    with pytest.raises(ValueError, match="frozen"):
        section.steps = 4  # type: ignore[misc]


def test_what_dvc_writes_is_read_back_as_a_number(tmp_path: Path) -> None:
    # DVC's own writer turns 0.00001 into 1e-05, which YAML 1.1 readers read as a string.
    path = tmp_path / "p.yaml"
    YAML().dump({"ingest": {"steps": 3, "inner": {"rate": 0.00001}}}, path)
    assert "1e-05" in path.read_text()
    assert load_section(Outer, "ingest", path).inner.rate == 0.00001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ingest: {steps: 3, inner: {rate: 0.5}, stepz: 4}", "ingest.stepz .value 4.; known: steps, inner, note"),
        ("ingest: {steps: 3, inner: {rate: 0.5, extra: x}}", "unknown parameter ingest.inner.extra"),
        ("ingest: {steps: 3}", "parameter ingest.inner is missing"),
        ("ingest:", "parameter ingest.steps is missing"),
        ("ingest: {steps: 0, inner: {rate: 0.5}}", "ingest.steps = 0: Input should be greater than or equal to 1"),
        ("ingest: {steps: 3, inner: {rate: 1.5}}", "ingest.inner.rate = 1.5: Input should be less than or equal to 1"),
        ("ingest: {steps: '3', inner: {rate: 0.5}}", "ingest.steps = '3': Input should be a valid integer"),
        ("ingest: {steps: 3.0, inner: {rate: 0.5}}", "ingest.steps = 3.0: Input should be a valid integer"),
        ("ingest: {steps: 3, inner: {rate: yes}}", "ingest.inner.rate = 'yes'"),
        ("ingest: []", r"ingest = \[\]: Input should be a valid dictionary"),
        ("ingest: false", "ingest = False: Input should be a valid dictionary"),
        ("{}", "section 'ingest' is missing; see .*test_params for its keys"),
        (
            "ingets: {}",
            "unknown section 'ingets'; known sections: data_sets, toys, seeds, synthesize, ingest, select, segment",
        ),
        ("- ingest", "expected a mapping of sections, found list"),
        ("ingest: {steps: 3", "not YAML: "),
    ],
)
def test_a_bad_file_is_told_with_place_and_value(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ParamsError, match=message) as error:
        load_section(Outer, "ingest", path)
    assert str(error.value).startswith(str(path))


def test_a_systems_section_has_both_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "mtmdd: {train: {steps: 3, inner: {rate: 0.5}}, runs: [TDL]}\n")
    assert load_section(Outer, "mtmdd.train", path) == Outer(steps=3, inner=Inner(rate=0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mtmdd: {train: {steps: 0, inner: {rate: 0.5}}}", "mtmdd.train.steps = 0: Input should be greater than"),
        ("mtmdd: {train: {steps: 3}}", "parameter mtmdd.train.inner is missing"),
        ("mtmdd: {train: {steps: 3, inner: {rate: 0.5, extra: x}}}", "unknown parameter mtmdd.train.inner.extra"),
        ("mtmdd: {train: [1]}", r"mtmdd.train = \[1\]: Input should be a valid dictionary"),
        ("mtmdd: {trian: {}}", "section 'mtmdd.train' is missing; see "),
        ("mtmdd: {}", "section 'mtmdd.train' is missing; see "),
        ("mtmdd:", "section 'mtmdd.train' is missing; see "),
        ("mtmdd: train", "section 'mtmdd.train' is missing; see "),
        ("mtmdd: [train]", "section 'mtmdd.train' is missing; see "),
        ("cleaning: {train: {steps: 3, inner: {rate: 0.5}}}", "section 'mtmdd.train' is missing; see "),
        # a system's sections are not allowed at the top level
        ("train: {steps: 3, inner: {rate: 0.5}}", "unknown section 'train'; known sections: data_sets, "),
    ],
)
def test_a_systems_bad_section_is_told_with_place_and_value(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ParamsError, match=message) as error:
        load_section(Outer, "mtmdd.train", path)
    assert str(error.value).startswith(str(path))


def test_an_unknown_key_is_told_all_shared_keys_and_all_systems(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as error:
        read_params(write(tmp_path, "seeds: [0]\nmtmd: {}\n"))
    known = str(error.value).rpartition("known sections: ")[2].split(", ")
    assert known == [*KEYS, *system_names()]
    assert "unknown section 'mtmd'" in str(error.value)


def test_the_systems_are_the_folders_with_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"cleaning", "mtmdd"} <= set(system_names())
    for name in ("zebra", "ant", "cache"):
        (tmp_path / name).mkdir()
    for name in ("zebra", "ant"):
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.setattr(params, "SYSTEMS", tmp_path)
    assert system_names() == ["ant", "zebra"]
    assert read_params(write(tmp_path, "ant: {}\n")) == {"ant": {}}


@pytest.mark.parametrize(
    "name", ["params.yaml", *(f"presets/{path.name}" for path in (ROOT / "presets").glob("*.yaml"))]
)
def test_every_parameter_file_has_all_keys_and_all_systems(name: str) -> None:
    assert set(read_params(ROOT / name)) == {*KEYS, *system_names()}


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ParamsError) as error:
        validate_section(Outer, "ingest", {"steps": 0, "more": 1}, "here")
    assert str(error.value).splitlines() == [
        "here: ingest.steps = 0: Input should be greater than or equal to 1",
        "here: parameter ingest.inner is missing",
        "here: unknown parameter ingest.more (value 1); known: steps, inner, note",
    ]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml: no such parameter file; .* name a file with --params"):
        read_params(tmp_path / "nowhere.yaml")


def test_seeds_are_different_whole_numbers(tmp_path: Path) -> None:
    assert read_seeds(write(tmp_path, "seeds: [2, 0, 7]")) == [2, 0, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: []", r"seeds = \[\]: expected a list"),
        ("seeds: 3", "seeds = 3: expected a list"),
        ("{}", "seeds = None: expected a list"),
        ("seeds: [0, 1, 0]", "a seed is listed twice"),
        ("seeds: [0, -1]", "-1 is not a whole number >= 0"),
        ("seeds: [true]", "True is not a whole number >= 0"),
        ("seeds: [[1]]", r"\[1\] is not a whole number >= 0"),
    ],
)
def test_bad_seeds_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        read_seeds(write(tmp_path, text))
