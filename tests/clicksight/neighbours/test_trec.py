from pathlib import Path
from urllib.parse import unquote

import ir_measures
import pytest
from click_builds import LOG, build, read_log, write_log
from neighbour_data import NASTY, small

from base.console import UserError
from clicksight.neighbours.items import Source
from clicksight.neighbours.trec import write


def read(folder: Path) -> dict[tuple[str, str], int]:
    rows = list(ir_measures.read_trec_qrels(str(folder / "qrels.txt")))
    found = {(unquote(row.query_id), unquote(row.doc_id)): row.relevance for row in rows}
    assert len(found) == len(rows)
    return found


def test_queries_are_topics(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write(small(tmp_path), out) == {"judgements": 11, "topics": 11}
    found = read(out)
    assert found["zebra", NASTY[0]] == 4
    assert {id_: clicks for (text, id_), clicks in found.items() if text == f"{id_} one"} == {
        id_: 3 + number for number, id_ in enumerate(NASTY[1:-1])
    }
    run = [ir_measures.ScoredDoc("zebra", NASTY[0], 1.0)]
    judged = [row for row in ir_measures.read_trec_qrels(str(out / "qrels.txt")) if row.query_id == "zebra"]
    assert ir_measures.calc_aggregate([ir_measures.P @ 1], judged, run) == {ir_measures.P @ 1: 1.0}


def test_words_of_features_are_topics(tmp_path: Path) -> None:
    log = write_log(LOG, tmp_path / "log.tsv")
    features = build(log, tmp_path / "features")
    (tmp_path / "out").mkdir()
    write(Source(features=features), tmp_path / "out")
    expected: dict[str, int] = {}
    for image, query, clicks in read_log(log):
        if "golden" in query.lower() or "ＧＯＬＤＥＮ" in query:
            expected[image] = expected.get(image, 0) + clicks
    assert {id_: clicks for (text, id_), clicks in read(tmp_path / "out").items() if text == "golden"} == expected


def test_nothing_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--clicks or --features: missing"):
        write(Source(), tmp_path)
