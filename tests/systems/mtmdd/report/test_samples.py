"""Sample predictions as the page shows them."""

from pathlib import Path

import pytest
from report_data import write_pictures, write_samples

from systems.mtmdd.report import samples


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "MTMDD-VM/seed-3").mkdir(parents=True)
    write_samples(tmp_path / "MTMDD-VM/seed-3")
    write_pictures(tmp_path / "images", {"source": ["s000"], "target": ["t000", "t001"]})
    return tmp_path


def test_right_images_come_first_and_clicked_words_are_marked(root: Path) -> None:
    found = samples.section(root, "MTMDD-VM", 3, root / "images")
    assert found is not None
    assert (found["method"], found["seed"], list(found["domains"])) == ("MTMDD-VM", 3, ["target", "source"])
    right, wrong = found["domains"]["target"]
    assert (right.image_id, right.right, right.predicted, right.probability) == ("t001", True, "corgi", "0.62")
    assert (wrong.image_id, wrong.right, wrong.predicted) == ("t000", False, "akita")
    assert (wrong.words, wrong.clicked) == ([("dog", False)], None)
    (source,) = found["domains"]["source"]
    assert source.words == [("dog", False), ("斑点狗", False), ("<b>", True)]
    assert source.clicked == ["<b>", "puppy"]
    assert source.alt == "corgi: source image s000"


def test_a_method_that_predicts_no_clicks_has_names_alone(root: Path) -> None:
    write_samples(root / "MTMDD-VM/seed-3", with_words=False)
    found = samples.section(root, "MTMDD-VM", 3, root / "images")
    assert found is not None
    assert {(len(one.words), one.clicked) for rows in found["domains"].values() for one in rows} == {(0, None)}


def test_an_earlier_evaluation_has_no_section_and_this_is_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert samples.section(root, "MTMDD-VM", 4, root / "images") is None
    assert "MTMDD-VM/seed-4/samples.parquet: no such file" in caplog.text
    assert "run the stage `mtmdd:evaluate`" in caplog.text
