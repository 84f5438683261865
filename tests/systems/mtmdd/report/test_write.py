"""The whole report, read back from its files, with an independent reader if there is one."""

import base64
import csv
import json
import re
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from html_page import Page
from report_data import PARAMS, write_data, write_run

from base.console import UserError
from report import data_sets, index
from report.sections import read_part
from systems.mtmdd.report import plots, write
from systems.mtmdd.report.diagnoses import errors_texts, inputs_texts
from systems.mtmdd.report.references import reference_lines, references_table
from systems.mtmdd.report.runs import read_runs
from systems.mtmdd.runs import Point


def run(root: Path, output: str = "report", page: str = "page") -> Path:
    """Write the part of the page and its tables, then the page; return the page's file."""
    write.main([
        "--data", str(root / "data"), "--system", str(root / "system"), "--output", str(root / output),
        "--params", str(root / "params.yaml"),
    ])  # fmt: skip
    index.main(["--systems", str(root / output), "--output", str(root / page)])
    return root / page / "index.html"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_data(folder)
    # Evaluations of an earlier parameter file, which must not be reported.
    write_run(folder / "system/evaluations/LEFTOVER/seed-0", 0, {"target": 16})
    write_run(folder / "system/evaluations/VGGsrc/seed-7", 1, {"target": 16})
    run(folder)
    return folder


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    return Page((root / "page/index.html").read_text(encoding="utf-8"))


def test_its_files(root: Path) -> None:
    assert sorted(path.name for path in (root / "report").iterdir()) == [
        *(
            "budgets.csv",
            "claims.csv",
            "confusions.csv",
            "cross_object.csv",
            "cross_object.png",
            "noise_filter.csv",
            "noise_filter.png",
            "one_shot.csv",
            "one_shot.png",
        ),
        *("out_of_class.csv", "out_of_class.png", "pairs.csv", "pairs.png", "part.json", "references.csv"),
        *("study_features.csv", "study_features.png", "study_lambda.csv", "study_lambda.png"),
        *("table_viii.csv", "table_viii.json", "table_viii.md", "table_viii.png", "table_viii.txt"),
        *("trade_off.png", "vocabulary.png"),
    ]


def test_the_tables_agree_with_each_other(root: Path) -> None:
    with (root / "report/table_viii.csv").open(encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    methods = json.loads((root / "report/table_viii.json").read_text())["methods"]
    assert [method["method"] for method in methods] == list(rows) == ["VGGimg", "VGGsrc", "MTMDD-VM"]
    for method in methods:
        for name, value in method.items():
            text = rows[method["method"]][name]
            assert (value is None and text == "") or text == value or float(text) == value
    assert float(rows["MTMDD-VM"]["accuracy_target"]) == 81.25
    assert "| MTMDD-VM | 72.2 ± 7.9 | 81.2 ± 0.0 |" in (root / "report/table_viii.md").read_text()


def test_the_page_needs_nothing_beside_it(page: Page) -> None:
    assert page.loaded == []
    plots = [source for source in page.pictures if source.startswith("data:image/png;base64,iVBOR")]
    photographs = [source for source in page.pictures if source.startswith("data:image/jpeg;base64,/9j/")]
    # of the one pair: three wrong images, three of corgi, none of akita; three samples
    assert (len(plots), len(photographs), len(page.pictures)) == (12, 9, 21)


def test_each_picture_of_the_page_is_the_one_that_its_caption_names(root: Path) -> None:
    text = (root / "page/index.html").read_text(encoding="utf-8")
    found = re.findall(r'png;base64,([^"]+)" alt="([^"]+)"', text)
    diagnostics = root / "system/evaluations/MTMDD-VM/diagnostics"
    expected = [
        ("Our test accuracies on this data set", root / "report/table_viii.png"),
        ("Target accuracy, row minus column", root / "report/pairs.png"),
        ("Does a network that predicts clicks better", root / "report/trade_off.png"),
        ("Accuracies with 95 % intervals, and RMSE-S", root / "report/study_features.png"),
        ("Accuracies with 95 % intervals, and RMSE-S", root / "report/study_lambda.png"),
        ("Target test accuracy with 95 % intervals; points", root / "report/out_of_class.png"),
        ("Target test accuracy with 95 % intervals; points", root / "report/one_shot.png"),
        ("Target test accuracy with 95 % intervals, by method and source", root / "report/cross_object.png"),
        ("Gradient norm of each weighted loss", diagnostics / "gradients.png"),
        ("True and predicted click features", diagnostics / "click_features.png"),
        ("Images kept in each cell of Table II", root / "report/noise_filter.png"),
        ("Clicks and images of the vocabulary", root / "report/vocabulary.png"),
    ]
    for (encoded, caption), (words, path) in zip(found, expected, strict=True):
        assert caption.startswith(words)
        assert base64.b64decode(encoded) == path.read_bytes(), path.name
    assert len({path.read_bytes() for _, path in expected}) == len(expected)


def test_the_pictures_are_drawn_from_the_tables_beside_them(root: Path) -> None:
    folder = root / "report"
    for name, draw in (
        ("table_viii", plots.accuracies_plot),
        ("noise_filter", data_sets.noise_filter_plot),
        ("cross_object", plots.cross_object_plot),
    ):
        assert (folder / f"{name}.png").read_bytes() == draw(pl.read_csv(folder / f"{name}.csv")), name
    vocabulary = pl.read_parquet(root / "data/features/vocabulary.parquet")
    assert (folder / "vocabulary.png").read_bytes() == data_sets.vocabulary_plot(vocabulary)
    shares = plots.sweep_plot(
        pl.read_csv(folder / "one_shot.csv"),
        {domain: f"share of the {domain}'s training images" for domain in ("source", "target")},
        percent=True,
    )
    assert (folder / "one_shot.png").read_bytes() == shares
    categories = plots.sweep_plot(pl.read_csv(folder / "out_of_class.csv"), {"source": "source categories"})
    assert (folder / "out_of_class.png").read_bytes() == categories
    lines = reference_lines(pl.read_csv(folder / "references.csv"))
    for name, axis, is_line in (("features", "what the recognisers see", False), ("lambda", "λ", True)):
        table = pl.read_csv(folder / f"study_{name}.csv", schema_overrides={"series": pl.String, "value": pl.String})
        plot = plots.study_plot(table.with_columns(pl.col("series").fill_null("")), axis, is_line, lines)
        assert (folder / f"study_{name}.png").read_bytes() == plot, name


def test_every_predictor_and_every_input_has_its_own_name() -> None:
    names = ("model", "without_position", "zero", "untrained", "constant", "category_means")
    errors = errors_texts({"rmse_source": {name: 1.5 - place / 10 for place, name in enumerate(names)}})
    assert errors.rows == [
        ["the model", "1.500"],
        ["the same without the position loss", "1.400"],
        ["predicting nothing", "1.300"],
        ["an untrained v^", "1.200"],
        ["the mean click feature", "1.100"],
        ["the category means", "1.000"],
    ]
    inputs = {
        "bandwidth": [0.01], "normal_percent": [0.4], "predicted_without_position_percent": [0.3],
        "predicted_percent": [0.2], "true_percent": [0.1],
    }  # fmt: skip
    table = inputs_texts(pl.DataFrame(inputs))
    assert [
        (column.group, column.heading, cell) for column, cell in zip(table.columns, table.rows[0], strict=True)
    ] == [
        ("", "B", "0.01"),
        ("ours, on this data", "v, %", "0.10"),
        ("ours, on this data", "v^, %", "0.20"),
        ("ours, on this data", "v^ without the position loss, %", "0.30"),
        ("ours, on this data", "standard normal, %", "0.40"),
        ("published", "Ratio, %", "0.27"),
    ]


def test_the_sections_about_the_data_have_its_numbers_below_their_headings(page: Page) -> None:
    by_head = {tuple(table[0]): table[1:] for table in page.tables if len(table[0]) > 2}
    assert by_head["rows of", "read", "kept", "quarantined"] == [
        ["clicks", "1,234", "1,230", "4"],
        ["labels", "20", "20", "0"],
    ]
    assert by_head["rows of", "quarantined because", "rows"] == [
        ["clicks", "empty query", "3"],
        ["clicks", "no count", "1"],
    ]
    assert by_head["seed", "domain", "categories", "images", "train", "validation", "test"] == [
        [seed, *row]
        for seed in ("0", "1")
        for row in (["source", "1", "5", "3", "0", "2"], ["target", "1", "1", "0", "1", "0"])
    ]
    assert by_head["domain", "category", "why", "images"] == [["source", "<dingo>", "not in the target", "5"]]
    assert by_head["cell", "categories", "images", "kept", "kept, %"] == [
        ["n < 8, keep all", "1", "5", "5", "100.0"],
        ["8 <= n < 100, first, p < 0.2", "2", "40", "30", "75.0"],
        ["all", "3", "45", "35", "77.8"],
    ]
    assert by_head["rank", "word", "clicks", "images", "idf"] == [
        ["1", "dog", "500", "4", "0.22"],
        ["2", "斑点狗", "120", "2", "0.92"],
    ]
    assert by_head[
        *("seed", "domain", "groups of copies", "images in them", "largest group", "groups in several categories"),
        *("groups in several splits", "images moved"),
    ] == [
        [seed, domain, "2", images, "4", "1", "0", moved]
        for seed, moved in (("0", "3"), ("1", "5"))
        for domain, images in (("source", "7"), ("target", "6"))
    ]


def test_the_whole_source_is_the_sweeps_last_point(root: Path) -> None:
    # 2 of the source's 3 categories are selected.
    with (root / "report/out_of_class.csv").open(encoding="utf-8") as file:
        found = [(row["method"], float(row["value"]), row["accuracy_target"]) for row in csv.DictReader(file)]
    assert found == [
        *(("VGGsrc", 1.0, "25.0"), ("VGGsrc", 2.0, "56.25"), ("MTMDD-VM", 1.0, "75.0"), ("MTMDD-VM", 2.0, "81.25")),
    ]
    text = (root / "page/index.html").read_text(encoding="utf-8")
    assert "The source keeps only some of its 2 categories" in text
    assert "The 2 most clicked of 3 words." in text


def test_the_data_sets_name_is_ours_and_the_published_one_the_papers(root: Path, page: Page) -> None:
    assert page.headings[:2] == [index.TITLE, "MTMDD-VM, image recognition with predicted user clicks: test data"]
    content = json.loads((root / "report/table_viii.json").read_text())
    assert (content["data"], content["seeds"]) == ("test data", [0, 1])
    assert content["published_data"] == "Clickture-Dog to Stanford, Columbia and ImageNet dogs"
    assert (root / "report/table_viii.txt").read_text(encoding="utf-8").splitlines()[-1] == (
        "ours: test data; published: Clickture-Dog to Stanford, Columbia and ImageNet dogs; "
        "95 %: interval over seeds and images; ±: deviation over seeds"
    )


def test_the_page_shows_ours_beside_the_published_numbers(page: Page) -> None:
    groups, heads, *rows = page.tables[0]
    assert groups == ["", "ours, on this data", "published", ""]
    assert heads[1:3] == heads[6:8] == ["Acc-S, %", "Acc-T, %"]
    assert [row[0] for row in rows[:3]] == ["VGGimg", "VGGsrc", "MTMDD-VM"]
    # means of the two seeds' lines
    assert [(row[0], row[5]) for row in rows[3:]] == [
        ("reference: predicting nothing", "1.010"),
        ("reference: an untrained v^", "1.424"),
        ("reference: the mean click feature", "1.180"),
        ("reference: the category means", "0.840"),
    ]
    assert rows[2][2] == "81.2 ± 0.0"
    assert rows[2][6:8] == ["77.3", "74.7"]


def test_the_page_says_what_its_reader_must_know(root: Path) -> None:
    text = (root / "page/index.html").read_text(encoding="utf-8")
    assert "Made &lt;up&gt; for a test." in text
    assert "target validation accuracy" in text
    assert "Means over 2 seeds (0, 1: split, initialisation and batches)" in text
    assert "Clickture-Dog to Stanford, Columbia and ImageNet dogs" in text


def test_the_page_says_what_its_intervals_and_verdicts_rest_on(root: Path, tmp_path: Path) -> None:
    text = (root / "page/index.html").read_text(encoding="utf-8")
    assert "They cover the randomness of training and the choice of test images" in text
    with (root / "report/claims.csv").open(encoding="utf-8") as file:
        tested = [row for row in csv.DictReader(file) if row["p"]]
    assert f"p is corrected for the {len(tested)} tested claims by Holm" in text
    assert "Published RMSE-S are shown times √2" in text
    write_data(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("seeds: [0, 1]", "seeds: [1]"))
    page = run(tmp_path).read_text(encoding="utf-8")
    assert "They cover the choice of test images alone" in page
    assert "No claim is tested here" in page
    with (tmp_path / "report/claims.csv").open(encoding="utf-8") as file:
        assert {row["verdict"] for row in csv.DictReader(file)} == {"not run", "one seed: no verdict"}
    assert 'class="one-seed-no-verdict"' in page
    assert "95 %: interval over images alone" in (tmp_path / "report/table_viii.txt").read_text(encoding="utf-8")


def test_the_lines_of_reference_are_by_seed_and_one_for_all_runs(root: Path, tmp_path: Path) -> None:
    table = pl.read_csv(root / "report/references.csv")
    assert table.rows() == [
        (0, 1.0, 1.414214, 1.17, 0.83),
        (1, pytest.approx(1.02), pytest.approx(1.434214), pytest.approx(1.19), pytest.approx(0.85)),
    ]
    assert json.loads((root / "report/table_viii.json").read_text())["rmse_references"] == table.to_dicts()
    point, blind = Point("methods", "TDL"), Point("methods", "VGGsrc")
    for one, rmse in ((point, 0.9), (blind, None)):
        write_run(tmp_path / one.name / "seed-0", 0, {"target": 4, "source": 3}, rmse)
    assert references_table(read_runs(tmp_path, [blind], [0])).is_empty()
    assert reference_lines(references_table(read_runs(tmp_path, [blind], [0]))) == {}
    other = Point("methods", "TDL7")
    write_run(tmp_path / "TDL7/seed-0", 0, {"target": 4, "source": 3}, 0.9)
    path = tmp_path / "TDL7/seed-0/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["rmse_references"]["constant"] += 0.01
    path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=r"TDL7, seed 0: its lines of reference of RMSE-S, .* not those of another run"):
        references_table(read_runs(tmp_path, [point, other], [0]))


def test_names_from_the_data_are_shown_as_they_are_and_never_as_markup(page: Page, root: Path) -> None:
    cells = [cell for table in page.tables for row in table for cell in row]
    assert "斑点狗" in cells
    assert "<dingo>" in cells
    assert "<dingo>" not in (root / "page/index.html").read_text(encoding="utf-8")
    # The third word is not listed, because `top_words` is 2.
    assert "<b>" not in cells


def test_quarantined_rows_and_left_out_categories_are_listed(page: Page) -> None:
    assert ["clicks", "empty query", "3"] in [row for table in page.tables for row in table]
    assert ["source", "<dingo>", "not in the target", "5"] in [row for table in page.tables for row in table]


def test_nothing_undeclared_is_reported(root: Path) -> None:
    for path in (root / "report").iterdir():
        assert b"LEFTOVER" not in path.read_bytes()
    with (root / "report/table_viii.csv").open(encoding="utf-8") as file:
        assert [row["accuracy_target"] for row in csv.DictReader(file)] == ["50.0", "56.25", "81.25"]


def test_the_result_table_stands_on_the_screen(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root, "again", "page again")
    shown = capsys.readouterr().out
    assert "81.2 ± 0.0" in shown
    assert "published: Clickture-Dog" in shown


def test_the_same_bytes_again(root: Path) -> None:
    again = run(root, "again", "page again")
    for path in (root / "report").iterdir():
        assert path.read_bytes() == (root / "again" / path.name).read_bytes(), path.name
    assert again.read_bytes() == (root / "page/index.html").read_bytes()


def test_a_missing_run_is_an_error_that_leaves_no_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("seeds: [0, 1]", "seeds: [0, 5]"))
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert "32 files of evaluations that the parameters declare are missing" in caplog.text
    assert "VGGimg/seed-5/metrics.json" in caplog.text
    assert not (tmp_path / "report").exists()


def test_a_missing_summary_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    (tmp_path / "data/cleaned/summary.json").unlink()
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert "cleaned/summary.json: no such file; run the stage that writes it" in caplog.text
    assert not (tmp_path / "report").exists()


def test_studies_that_are_left_out_have_no_section(tmp_path: Path) -> None:
    write_data(tmp_path)
    params = PARAMS.replace("out_of_class=VGGsrc-1, out_of_class=MTMDD-VM-1,", "")
    assert params != PARAMS
    (tmp_path / "params.yaml").write_text(params)
    headings = Page(run(tmp_path).read_text(encoding="utf-8")).headings
    assert "Fewer training images (Fig. 14)" in headings
    assert "Fewer source categories (Fig. 13)" not in headings
    assert not (tmp_path / "report/out_of_class.csv").exists()


def test_component_studies_stand_beside_the_paper(root: Path, page: Page) -> None:
    assert {"Visual and click feature (Table VI)", "One task or two (Table VII)"} <= set(page.headings)
    # A study is left out if all its values are methods' runs, or if it has only one value.
    assert not any("Fig. 12" in heading or "Table V)" in heading for heading in page.headings)
    (table,) = [table for table in page.tables if table[1][0] == "what the recognisers see"]
    # C: 6 and 7 of 9 source images, 6 of 16 target images in both seeds; 8 with V; RMSE-S 0.80 and 0.82.
    c = dict(zip(table[1], table[3], strict=True))
    assert (table[3][0], c["run"]) == ("C", "–")
    assert table[3][1:3] == ["72.2 ± 7.9", "37.5 ± 0.0"]
    assert (table[3][4], c["Acc-T −\nV"]) == ("0.810", "-12.5")
    assert table[3][7:9] == ["71.5", "58.9"]
    assert (table[2][-1], table[2][5]) == ("VGGimg", "–")
    assert not any("RMSE-S" in heading for heading in table[1][7:])


def test_table_ix_stands_beside_the_paper(page: Page) -> None:
    assert "Another kind of object as source (Table IX)" in page.headings
    (table,) = [table for table in page.tables if "other source" in table[1]]
    assert table[0] == ["", "ours, on this data", "published"]
    # 13 of 16 target images with the own source, 11 with birds; Table IX
    assert [row[0] for row in table[2:]] == ["VGGsrc", "MTMDD-VM"]
    assert table[3][1:3] == ["birds", "81.2 ± 0.0"]
    assert (table[3][4], table[3][6]) == ("68.8 ± 0.0", "+12.5")
    assert table[3][8:] == ["74.7 / 73.5", "73.8 / 70.7"]


def test_a_report_without_the_cross_object_study(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "params.yaml").write_text(
        PARAMS.replace("{methods: [VGGsrc, MTMDD-VM], sources", "{methods: [], sources")
    )
    page = Page(run(tmp_path).read_text(encoding="utf-8"))
    assert "Table IX)" not in "".join(page.headings)
    assert "#cross_object" not in page.links
    assert not list((tmp_path / "report").glob("cross_object.*"))
    with (tmp_path / "report/claims.csv").open(encoding="utf-8") as file:
        assert {row["verdict"] for row in csv.DictReader(file) if row["claim"] == "8"} == {"not run"}


def test_the_page_shows_confused_categories_and_samples(root: Path, page: Page) -> None:
    # MTMDD-VM names 13 of 16 images rightly in both seeds; VGGsrc, with 9, is the best one without clicks
    (table,) = [table for table in page.tables if table[0][:3] == ["", "MTMDD-VM", "VGGsrc"]]
    assert table[2][:7] == ["corgi", "akita", "32", "6", "18.8", "14", "43.8"]
    assert table[2][7] == "-25.0"
    text = (root / "page/index.html").read_text(encoding="utf-8")
    assert "VGGsrc is the best of the other methods here that predict no clicks" in text
    assert 'alt="corgi, named akita: image t013"' in text
    assert "Predicted: dog, 斑点狗, <b>&lt;b&gt;</b>" in text
    assert "Clicked: &lt;b&gt;, puppy" in text
    rows = pl.read_csv(root / "report/confusions.csv").rows()
    assert rows == [
        ("MTMDD-VM", "corgi", "akita", 6, 32, 18.75),
        ("VGGsrc", "corgi", "akita", 14, 32, 43.75),
    ]


def test_an_image_that_is_not_ingested_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    path = tmp_path / "data/ingested/images/part-00000.parquet"
    pl.read_parquet(path).filter(pl.col("image_id") != "t013").write_parquet(path)
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert "images are not there, as 't013'; run the ingest and select stages again" in caplog.text
    assert not (tmp_path / "report").exists()


def test_claims_of_component_studies_are_judged_by_their_runs(root: Path) -> None:
    with (root / "report/claims.csv").open(encoding="utf-8") as file:
        claims = {(row["better"], row["worse"]): row for row in csv.DictReader(file)}
    ours = claims["lambda=separate-0.4", "lambda=separate-1"]
    # 12 against 10 of 16; Table VII: 73.3 - 71.5.
    assert (float(ours["difference"]), float(ours["published"])) == (12.5, 1.8)
    assert claims["tau=0.1", "tau=0"]["verdict"] == "not run"


def test_a_study_file_of_other_parameters_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    (tmp_path / "params.yaml").write_text(
        PARAMS.replace("features=C, ", "").replace("points: [features=C]", "points: []")
    )
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert "studies.json: features=C is not among the runs in the parameter file; run python -m" in caplog.text


def test_diagnoses_of_click_predictors_are_shown(page: Page, root: Path) -> None:
    assert page.headings.count("Diagnoses of click predictors") == 1
    by_corner = {table[0][0]: table for table in page.tables}
    errors, gradients = by_corner["predictor"], by_corner["step"]
    (inputs,) = [table for table in page.tables if table[1][0] == "B"]
    assert errors[1:] == [
        ["an untrained v^", "1.410"], ["the mean click feature", "1.164"], ["the model", "1.125"],
        ["predicting nothing", "1.000"], ["the category means", "0.500"],
    ]  # fmt: skip
    assert gradients[1:] == [["0 (0%)", "0.66", "7.24", "-0.03"], ["1,500 (15%)", "–", "9.20", "0.04"]]
    # Table IV has no B = 0.05
    assert inputs[1] == ["B", "v, %", "v^, %", "standard normal, %", "Ratio, %"]
    assert inputs[2:] == [["10", "14.60", "45.90", "50.00", "57.53"], ["0.05", "0.40", "2.00", "1.99", "–"]]


def test_a_page_without_diagnoses(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "params.yaml").write_text(
        PARAMS.replace("methods: [MTMDD-VM], points: [features=C]", "methods: [], points: []")
    )
    text = run(tmp_path).read_text(encoding="utf-8")
    assert "Diagnoses of click predictors" not in text
    assert "Click predictors" not in text
    assert text.count("data:image/png;base64,") == 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "methods: [MTMDD-VM], points",
            "methods: [TDL], points",
            "mtmdd.diagnose.methods: TDL is not among mtmdd.runs",
        ),
        (
            "points: [features=C], every",
            "points: [tau=1], every",
            "mtmdd.diagnose.points: tau=1 is not among mtmdd.runs",
        ),
    ],
)
def test_diagnoses_of_what_is_not_declared_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str, message: str
) -> None:
    write_data(tmp_path)
    assert old in PARAMS
    (tmp_path / "params.yaml").write_text(PARAMS.replace(old, new))
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert f"{message}; list it there, or remove it here" in caplog.text


def test_missing_diagnostics_say_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_data(tmp_path)
    (tmp_path / "system/evaluations/MTMDD-VM/diagnostics/diagnostics.json").unlink()
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert (
        "diagnostics.json: no such file; run `dvc repro`, or remove MTMDD-VM from mtmdd.diagnose.methods" in caplog.text
    )


def test_the_contents_lead_to_every_section_of_the_page(page: Page) -> None:
    assert page.links == [
        "#mtmdd", "#methods", "#budgets", "#claims", "#components", "#out_of_class", "#one_shot", "#cross_object",
        "#confusions", "#samples", "#diagnostics", "#data", "#noise", "#vocabulary",
    ]  # fmt: skip
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    # headings skip no level
    assert page.levels[:2] == [1, 2]
    assert all(level <= above + 1 for above, level in pairwise(page.levels))


def test_the_part_is_what_the_page_has(root: Path) -> None:
    part = read_part(root / "report")
    assert (part.name, part.title) == ("mtmdd", "MTMDD-VM, image recognition with predicted user clicks: test data")
    assert part.html in (root / "page/index.html").read_text(encoding="utf-8")


def test_without_runs_the_page_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text(
        "seeds: [0]\nmtmdd: {runs: [], cross_object: {methods: [], sources: []}, "
        "report: {data_set: none, note: none, top_words: 1}}\n"
    )
    page = Page(run(tmp_path).read_text(encoding="utf-8"))
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["part.json"]
    assert page.headings == [index.TITLE, "MTMDD-VM, image recognition with predicted user clicks"]
    assert "Not run: the parameter file lists no run (mtmdd.runs)." in (tmp_path / "page/index.html").read_text()
    assert page.links == ["#mtmdd"] == [f"#{anchor}" for anchor in page.ids]
    assert capsys.readouterr().out == ""
