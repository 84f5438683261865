"""The command and its Python twin: order, formats, reasons, exit codes; the network is a small fixed one."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import clicksight
from base import schemas
from clicksight import predict
from model.prediction import Context, Prediction, RecogniserPredictor, Scored

COLOURS = {"a.png": (250, 10, 10), "b.png": (10, 250, 10), "d.png": (10, 10, 250)}


class Means(nn.Module):
    """The mean of each colour, from 0 to 1; remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        return images.float().mean(dim=(2, 3)) / 255


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Means:
    """Replace model folders by one network for categories and words."""
    network = Means()
    model = RecogniserPredictor(
        "some", "RUN", 0, (20, 16), (network, ["red", "green", "blue"]), (Means(), ["r", "g", "b"]), torch.device("cpu")
    )
    monkeypatch.setattr(predict, "load_model", lambda folder, evaluation: model)
    monkeypatch.setattr("clicksight.models.load_model", lambda folder, evaluation: model)
    return network


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three pictures with a bad one between them."""
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(f"set/{name}")
    Path("set/c.png").write_text("no picture")
    return ["set"]


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clicksight predict", *arguments])
    predict.main(list(arguments))


def test_json_lines_have_every_picture_in_order(network, pictures, capsys, caplog, monkeypatch) -> None:
    run("model", *pictures, "--format=jsonl", "--top=2", "--batch-size=2", monkeypatch=monkeypatch)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == ["set/a.png", "set/b.png", "set/c.png", "set/d.png"]
    assert lines[2] == {"image": "set/c.png", "error": "not an image"}
    assert [line["categories"][0]["name"] for line in (lines[0], lines[1], lines[3])] == ["red", "green", "blue"]
    assert [len(line["words"]) for line in (lines[0], lines[1], lines[3])] == [2, 2, 2]
    assert network.batches == [2, 1]
    assert "pictures 4" in caplog.text
    assert "predicted 3" in caplog.text
    assert "unusable: not an image 1" in caplog.text


def test_a_table_for_people_escapes_names(network, pictures, capsys, monkeypatch) -> None:
    Path("set/a.png").rename("set/a\x1b[31m.png")
    run("model", *pictures, "--top=1", monkeypatch=monkeypatch)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "set/b.png\n  categories: green 0." in shown
    assert "set/c.png\n  unusable: not an image\n" in shown


def test_parquet_has_the_declared_schema_and_the_same_content(network, pictures, capsys, monkeypatch) -> None:
    monkeypatch.setattr(predict, "AT_ONCE", 3)  # two row groups
    run("model", *pictures, "--output=out.parquet", monkeypatch=monkeypatch)
    run("model", *pictures, "--output=out.jsonl", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == ""
    file = pq.ParquetFile("out.parquet")
    assert file.schema_arrow == schemas.PICTURE_PREDICTIONS
    assert file.num_row_groups == 2
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    for row, line in zip(pq.read_table("out.parquet").to_pylist(), lines, strict=True):
        assert (row["image"], row["error"]) == (line["image"], line.get("error"))
        for name in ("categories", "words", "labels", "tags", "texts"):
            said = line.get(name, [])
            assert row[name] == [one["name"] for one in said]
            assert row[f"{name}_values"] == pytest.approx([one["value"] for one in said], abs=1e-6)


def test_words_that_do_not_fit_are_left_out(network, pictures, capsys, caplog, monkeypatch) -> None:
    class CutAt:
        number = 1

        def fitting(self, words):  # never the largest word of a.png and b.png
            return [word for word in words if word.name == "b"]

    monkeypatch.setattr(predict.CutOffs, "read", lambda path, digest: CutAt())
    monkeypatch.setattr(predict, "model_digest", lambda folder: "digest")
    Path("model").mkdir()
    Path("model/cut_offs.parquet").write_text("read above")
    run("model", *pictures, "--format=jsonl", "--top=1", monkeypatch=monkeypatch)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[word["name"] for word in line["words"]] for line in lines if "words" in line] == [["b"]] * 3
    assert [len(line["categories"]) for line in lines if "words" in line] == [1] * 3
    assert lines[2] == {"image": "set/c.png", "error": "not an image"}
    assert "words with a cut-off 1" in caplog.text
    monkeypatch.setattr(CutAt, "fitting", lambda self, words: [])
    run("model", "set/a.png", "--format=jsonl", monkeypatch=monkeypatch)
    assert json.loads(capsys.readouterr().out)["words"] == []
    run("model", *pictures, monkeypatch=monkeypatch)
    shown = capsys.readouterr().out
    assert shown.count("  words: none fits\n") == 3
    run("model", *pictures, "--all", monkeypatch=monkeypatch)
    assert "none fits" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--strict"], 3, "unusable: not an image 1"),
        (["--top=0"], 2, "--top 0: at least 1 expected"),
        (["--batch-size=0"], 2, "--batch-size 0: at least 1 expected"),
        (["--user=u"], 2, "--user: models of some know no users; leave it out"),
        (["--output=out.csv"], 2, "--output out.csv: the suffix says the format; expected .jsonl or .parquet"),
    ],
)
def test_exit_codes(network, pictures, caplog, monkeypatch, options: list[str], code: int, text: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("model", *pictures, *options, monkeypatch=monkeypatch)
    assert exit_.value.code == code
    assert text in caplog.text


def test_strict_without_bad_pictures_ends_well(network, pictures, monkeypatch) -> None:
    run("model", "set/a.png", "--strict", monkeypatch=monkeypatch)


def test_python_says_the_same_in_three_lines(network, pictures) -> None:
    model = clicksight.load_model("model")
    found = {picture.name: said for picture, said in clicksight.predictions(model, [Path("set")], top=1)}
    assert list(found) == ["set/a.png", "set/b.png", "set/c.png", "set/d.png"]
    assert found["set/c.png"] is None
    assert [found[f"set/{name}"].categories[0].name for name in COLOURS] == ["red", "green", "blue"]


def test_what_is_known_of_a_picture_reaches_the_model(pictures) -> None:
    Path("tags.tsv").write_text("image_id\ttag\na\tdog\na\tcat\nd\tsun\n")
    context = predict.contexts(Path("tags.tsv"), ["beach", "sea", "sea"])
    assert context("a") == Context(("dog", "cat"), ("beach", "sea", "sea"))
    assert context("b") == Context((), ("beach", "sea", "sea"))
    assert predict.contexts(None, [])("a") == Context()

    class Telling:
        resize, image_size, finely = 20, 16, False

        def predict(self, pixels, contexts=(), top=None):
            return [Prediction(labels=[Scored(tag, 1.0) for tag in context.tags]) for context in contexts]

    found = [said for _, said in clicksight.predictions(Telling(), ["set"], tags={"d": ["sun"]})]
    assert [[one.name for one in said.labels] if said else None for said in found] == [[], [], None, ["sun"]]


@pytest.mark.parametrize("option", [["--tags", "tags.tsv"], ["--history", "sea"]])
def test_what_a_model_does_not_read_is_refused(network, pictures, monkeypatch, caplog, option: list[str]) -> None:
    Path("tags.tsv").write_text("image_id\ttag\na\tdog\n")
    with pytest.raises(SystemExit):
        run("model", "set", *option, monkeypatch=monkeypatch)
    assert f"{option[0]}: some RUN reads no {option[0][2:]}; leave it out" in caplog.text


def test_importing_the_package_imports_no_torch() -> None:

    code = "import sys, clicksight; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_standard_input_is_one_picture(network, capsys, monkeypatch) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), COLOURS["d.png"]).save(buffer, "PNG")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    run("model", "-", "--format=jsonl", monkeypatch=monkeypatch)
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["image"] == "standard input"
    assert line["categories"][0]["name"] == "blue"
