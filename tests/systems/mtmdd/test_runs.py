"""Runs as texts: each form round-trips, and another text is refused with its index and the expected forms."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base.params import ParamsError, read_seeds
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.config import DOMAINS
from systems.mtmdd.runs import CrossObjectParams, Point, load_points, read_run, read_runs
from systems.mtmdd.studies import STUDIES

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "point"),
    [
        *((method, Point("methods", method)) for method in COMPARED),
        ("tau=0.4", Point("components", "tau=0.4")),
        ("lambda=shared-0.8", Point("components", "lambda=shared-0.8")),
        ("features=V+C_E", Point("components", "features=V+C_E")),
        ("kernels=3x1024", Point("components", "kernels=3x1024")),
        ("out_of_class=TDL-6", Point("out_of_class", "TDL", 6)),
        # names of methods may contain hyphens
        ("out_of_class=MTMDD-VM-star-12", Point("out_of_class", "MTMDD-VM-star", 12)),
        ("equal_images=MTMDD-VM-star-24", Point("equal_images", "MTMDD-VM-star", 24)),
        ("one_shot=TDL-source-0.4", Point("one_shot", "TDL", 0.4, "source")),
        ("one_shot=MTMDD-VM-target-0.75", Point("one_shot", "MTMDD-VM", 0.75, "target")),
        ("unlabelled=MTMDD-VM-star", Point("unlabelled", "MTMDD-VM-star")),
        ("unlabelled=lambda=shared-0", Point("unlabelled", "lambda=shared-0")),
        # a component study's point stands for a method
        ("one_shot=lambda=shared-0-target-0.05", Point("one_shot", "lambda=shared-0", 0.05, "target")),
        ("out_of_class=features=V+C_E-25", Point("out_of_class", "features=V+C_E", 25)),
    ],
)
def test_a_text_names_its_point_and_the_point_the_text(text: str, point: Point) -> None:
    assert read_run(text) == point
    assert point.name == text


def test_a_part_knows_its_whole() -> None:
    assert read_run("out_of_class=TDL-6").whole == read_run("TDL")
    assert read_run("one_shot=lambda=shared-0-target-0.05").whole == read_run("lambda=shared-0")
    assert read_run("tau=0.4").whole == read_run("tau=0.4")
    assert read_run("unlabelled=lambda=shared-0").whole == read_run("lambda=shared-0")


def test_points_of_another_source_have_names_too() -> None:
    params = CrossObjectParams(methods=["TDL", "MTMDD-VM"], sources=["toy_birds", "cats"])
    assert [point.name for point in params.points()] == [
        "cross_object=TDL-toy_birds", "cross_object=TDL-cats", "cross_object=MTMDD-VM-toy_birds",
        "cross_object=MTMDD-VM-cats",
    ]  # fmt: skip
    assert params.points()[1] == Point("cross_object", "TDL", source="cats")


@given(method=st.sampled_from(sorted(COMPARED)), categories=st.integers(1, 10**9))
def test_every_number_of_categories_round_trips(method: str, categories: int) -> None:
    point = Point("out_of_class", method, categories)
    assert read_run(point.name) == point
    assert read_run(point.name).name == point.name


@given(method=st.sampled_from(sorted(COMPARED)), domain=st.sampled_from(DOMAINS), digits=st.integers(1, 9999))
def test_every_share_round_trips(method: str, domain: str, digits: int) -> None:
    point = Point("one_shot", method, digits / 10_000, domain)
    assert read_run(point.name) == point


def name_or_error(text: str) -> str:
    try:
        return read_run(text).name
    except ValueError as error:
        return str(error)


@given(share=st.from_regex(r"0\.[0-9]{1,25}", fullmatch=True))
def test_a_share_is_taken_as_it_is_written_or_refused(share: str) -> None:
    text = f"one_shot=TDL-source-{share}"
    assert (name_or_error(text) == text) == (share == str(float(share)) and float(share) > 0)


@given(text=st.text(max_size=30) | st.from_regex(r"[a-z_]+=[A-Za-z0-9.+x_-]*", fullmatch=True))
def test_a_text_is_its_points_name_or_is_named_by_the_error(text: str) -> None:
    found = name_or_error(text)
    assert found == text or found.startswith(f"{text!r}: ")


@pytest.mark.parametrize(
    "point", [f"{name}={value}" for name, study in STUDIES.items() for value in (study.example, *study.paper)]
)
def test_every_value_of_the_paper_is_a_run(point: str) -> None:
    assert read_run(point) == Point("components", point)


STUDY_NAMES = (
    "kernels, embedding, bandwidth, tau, features, lambda, mu, click_gradient, recogniser_gradient, out_of_class, "
    "one_shot, unlabelled, equal_images"
)
METHOD_NAMES = (
    "VGGimg, VGGsrc, TDL7, TDL, MTTDL, MTMDD-VM, MTMDD-VM-star, DAN, DANN, RACNN, SCDA, SF, VSE++, MDD-VM, "
    "MDD-VM-star, linear_probe"
)
SOME_RUN = f"expected a method ({METHOD_NAMES}), or study=value with one of the studies {STUDY_NAMES}"
CATEGORIES = "expected out_of_class=METHOD-CATEGORIES, for example out_of_class=TDL-6"
SHARE = (
    "expected one_shot=METHOD-DOMAIN-SHARE, for example one_shot=TDL-source-0.4, with a share from 0.0001 to below 1"
)
MALFORMED = {
    "": SOME_RUN,
    "tdl": SOME_RUN,
    "TDL ": SOME_RUN,
    "methods/TDL": SOME_RUN,
    "=TDL": SOME_RUN,
    "rho=1": SOME_RUN,
    "tau": "an example is tau=0.4",
    "methods=TDL": SOME_RUN,
    "components=tau": SOME_RUN,
    "tau=": "an example is tau=0.4",
    "tau=0.40": "use the shortest form, tau=0.4",
    "lambda=0.4": "an example is lambda=shared-0.4",
    "out_of_class=TDL": CATEGORIES,
    "out_of_class=TDL-0": CATEGORIES,
    "out_of_class=TDL-06": CATEGORIES,
    "out_of_class=TDL--6": CATEGORIES,
    "out_of_class=TDL-6.5": CATEGORIES,
    "out_of_class=TDL-٦": CATEGORIES,
    "out_of_class=VGG-6": CATEGORIES,
    "out_of_class=-6": CATEGORIES,
    "unlabelled=": "expected unlabelled=METHOD, for example unlabelled=TDL",
    "unlabelled=VGG": "expected unlabelled=METHOD, for example unlabelled=TDL",
    "unlabelled=TDL-0": "expected unlabelled=METHOD, for example unlabelled=TDL",
    "equal_images=TDL": "expected equal_images=METHOD-EPOCHS, for example equal_images=TDL-24",
    "equal_images=TDL-0": "expected equal_images=METHOD-EPOCHS, for example equal_images=TDL-24",
    "equal_images=VGG-2": "expected equal_images=METHOD-EPOCHS, for example equal_images=TDL-24",
    "one_shot=TDL-0.4": SHARE,
    "one_shot=TDL-both-0.4": SHARE,
    "one_shot=TDL-source-1": SHARE,
    "one_shot=TDL-source-0": SHARE,
    "one_shot=TDL-source-0.0": SHARE,
    "one_shot=TDL-source-0.40": SHARE,
    "one_shot=TDL-source-.4": SHARE,
    "one_shot=VGG-source-0.4": SHARE,
    "one_shot=lambda=shared-target-0.05": SHARE,
    "out_of_class=lambda=shared-6": CATEGORIES,
    "one_shot=TDL-source-0.00001": SHARE,  # Python would write 1e-05
    "one_shot=TDL-source-0.12345678901234567891": SHARE,  # more digits than a float keeps
    "cross_object=TDL-toy_birds": "list its method and its source in the section mtmdd.cross_object",
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.items())
def test_a_text_that_is_not_a_run_is_refused_with_the_expected_form(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r}: ")) as error:
        read_run(text)
    assert message in str(error.value)


def test_every_wrong_text_is_named_with_its_index() -> None:
    with pytest.raises(ParamsError) as error:
        read_runs(["TDL", "tdl", "tau=0.4", "TDL", "out_of_class=TDL", "tau=0.4"], "p.yaml")
    lines = str(error.value).splitlines()
    assert [line.partition(": '")[0] for line in lines] == [f"p.yaml: mtmdd.runs[{index}]" for index in (1, 3, 4, 5)]
    assert lines[1] == "p.yaml: mtmdd.runs[3]: 'TDL' is listed twice"
    assert lines[3] == "p.yaml: mtmdd.runs[5]: 'tau=0.4' is listed twice"


@pytest.mark.parametrize("texts", ["TDL", {"TDL": 1}, ["TDL", 3], [["TDL"]], [None], None, 7])
def test_runs_are_a_list_of_texts(texts: object) -> None:
    with pytest.raises(
        ParamsError, match=r"^p\.yaml: mtmdd\.runs = .*expected a list of texts, for example \[TDL, tau=0\.4\]"
    ):
        read_runs(texts, "p.yaml")


def test_runs_keep_their_order() -> None:
    texts = ["tau=0.4", "TDL", "one_shot=TDL-source-0.4", "VGGimg"]
    assert [point.name for point in read_runs(texts, "p.yaml")] == texts
    assert read_runs([], "p.yaml") == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"methods": ["TDL", "MTMDD-VM-star"], "sources": []},
            r"\['MTMDD-VM-star'\]: one head for both domains is impossible",
        ),
        ({"methods": ["VGG"], "sources": []}, r"unknown methods \['VGG'\]; known methods: VGGimg, "),
        ({"methods": ["TDL", "TDL"], "sources": []}, "a method is listed twice"),
        ({"methods": [], "sources": ["a/b"]}, r"expected distinct names of letters, digits, _ and -, found \['a/b'\]"),
        ({"methods": [], "sources": ["birds", "birds"]}, "distinct names"),
        ({"methods": [], "sources": [""]}, "distinct names"),
        ({"methods": [], "sources": [], "domains": []}, "Extra inputs are not permitted"),
        ({"methods": []}, "Field required"),
    ],
)
def test_another_source_takes_methods_of_separate_heads(values: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CrossObjectParams(**values)  # type: ignore[arg-type]


def test_points_are_the_runs_and_then_those_of_another_source(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("mtmdd: {runs: [TDL, tau=0.4], cross_object: {methods: [TDL], sources: [birds]}}\n")
    assert [point.name for point in load_points(path)] == ["TDL", "tau=0.4", "cross_object=TDL-birds"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mtmdd: {cross_object: {methods: [], sources: []}}",
            r"mtmdd\.runs is missing; list the trainings, for example \[TDL",
        ),
        ("mtmdd: []", r"mtmdd\.runs is missing"),
        ("seeds: [0]", r"mtmdd\.runs is missing"),
        ("mtmdd: {runs: [TDL]}", r"section 'mtmdd\.cross_object' is missing; see systems\.mtmdd\.runs"),
        ("mtmdd: {runs: [tdl]}", r"mtmdd\.runs\[0\]: 'tdl': expected a method"),
        ("mtmdd: {runs: [1]}", r"mtmdd\.runs = \[1\]: expected a list of texts"),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ParamsError, match=message) as error:
        load_points(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "points", "trainings"),
    [
        ("params.yaml", 10, 10),
        ("presets/toy_full.yaml", 121, 363),
        ("presets/birds50_full.yaml", 59, 295),
        ("presets/clickture_dog.yaml", 131, 131),
    ],
)
def test_the_parameter_files_declare_as_many_trainings_as_they_say(name: str, points: int, trainings: int) -> None:
    found = load_points(ROOT / name)
    assert (len(found), len(found) * len(read_seeds(ROOT / name))) == (points, trainings)
    assert len({point.name for point in found}) == points
    assert [read_run(point.name) for point in found if point.study != "cross_object"] == [
        point for point in found if point.study != "cross_object"
    ]
