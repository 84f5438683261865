"""What the files of click features say of themselves, and files of each version of their schema."""

import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from click_builds import LOG, build, digest, write_log
from click_oracles import assert_equal, by_sql, read_features

from base.console import UserError
from base.params import validate_section
from base.schemas import CLICK_FEATURES, CLICK_FEATURES_VERSION, VOCABULARY
from pipelines.words.about import about_features, check_version, digest_of, read_about, segment_options
from pipelines.words.click_features import read_vocabulary
from pipelines.words.segmentation import SegmentParams

VERSIONS = Path(__file__).parents[2] / "schema_versions"
PLAIN = {"stop_words": None, "dictionary": None, "user_dictionary": None, "minimum_length": 1, "lemmas": None}


def params(**values: object) -> SegmentParams:
    return validate_section(SegmentParams, "segment", {**PLAIN, **values}, where="test")


def test_files_say_what_they_are_and_a_later_build_keeps_the_licence(tmp_path: Path) -> None:
    first = build(write_log(LOG[:5], tmp_path / "one.tsv"), tmp_path / "one", "--licence", "CC-BY-4.0")
    shards = sorted((first / "click_features").iterdir())
    found = [read_about(path) for path in (first / "vocabulary.parquet", *shards)]
    assert found[0].pop("made_by").startswith("pipelines.words.vocabulary, clicksight ")
    assert all(about.pop("made_by").startswith("pipelines.words.click_features, ") for about in found[1:])
    assert all(about == found[0] for about in found)
    assert {name: found[0][name] for name in ("schema_version", "top_words", "images", "licence")} == {
        "schema_version": str(CLICK_FEATURES_VERSION), "top_words": "1000", "images": "3", "licence": "CC-BY-4.0"
    }  # fmt: skip
    # another program sees the same
    query = "select decode(key), decode(value) from parquet_kv_metadata(?)"
    seen = dict(duckdb.connect().execute(query, [str(shards[0])]).fetchall())
    assert seen["clicksight.images"] == "3"
    assert str(tmp_path) not in json.dumps(seen)

    rest = write_log(LOG[5:], tmp_path / "two.tsv")
    both = build(rest, tmp_path / "both", "--previous", str(first))
    assert read_about(both / "vocabulary.parquet")["licence"] == "CC-BY-4.0"
    whole = build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "whole", "--licence", "CC-BY-4.0")
    for name, value in digest(whole).items():
        if not name.startswith("quarantine") and name != "summary.json":
            assert digest(both)[name] == value, name


def test_the_digest_changes_with_every_parameter_and_with_the_content_of_a_list(tmp_path: Path) -> None:
    words = tmp_path / "stop.txt"
    found = []
    for text in ("a\n", "b\n"):
        words.write_text(text)
        found.append(digest_of(segment_options(params(stop_words=str(words)))))
    copy = tmp_path / "elsewhere.txt"
    copy.write_text("b\n")
    assert digest_of(segment_options(params(stop_words=str(copy)))) == found[1]
    found += [digest_of(segment_options(params(**value))) for value in ({}, {"minimum_length": 2}, {"lemmas": "en"})]
    assert len(set(found)) == 5
    about = [
        about_features("s", top_words, fit_on, None) for top_words, fit_on in ((3, "all"), (4, "all"), (3, "train"))
    ]
    assert len({one["parameters"] for one in about}) == 3
    assert about[0]["licence"] == "not stated"


@pytest.mark.parametrize("licence", ["", " ", "one\ntwo"])
def test_a_licence_is_one_line(licence: str) -> None:
    with pytest.raises(UserError, match="name a licence on one line"):
        about_features("s", 3, "all", licence)


def test_a_build_of_another_version_is_refused() -> None:
    check_version({}, Path("old.parquet"))  # before there were versions
    with pytest.raises(UserError, match=r"new.parquet: has schema version 2, this is version 1 .* build anew"):
        check_version({"schema_version": "2"}, Path("new.parquet"))


@pytest.mark.parametrize("folder", sorted(VERSIONS.iterdir()), ids=lambda folder: folder.name)
def test_files_of_every_version_are_read_or_refused(folder: Path) -> None:
    """If this fails, the schema or its meaning has changed.

    Raise `base.schemas.CLICK_FEATURES_VERSION`, add a folder with the new version's files (the build of
    `click_builds.LOG`, its shards as one), leave the old folders as they are, and say in
    docs/data_package.md what is different.
    """
    assert str(CLICK_FEATURES_VERSION) in {version.name for version in VERSIONS.iterdir()}
    about = read_about(folder / "vocabulary.parquet")
    assert about["schema_version"] == folder.name
    if folder.name != str(CLICK_FEATURES_VERSION):
        with pytest.raises(UserError, match="has schema version"):
            read_vocabulary(folder / "vocabulary.parquet")
        return
    for name, schema in (("vocabulary.parquet", VOCABULARY), ("click_features/part-00000.parquet", CLICK_FEATURES)):
        assert pq.read_schema(folder / name).equals(schema), test_files_of_every_version_are_read_or_refused.__doc__
    assert_equal(read_features(folder), by_sql(LOG, 1000))
