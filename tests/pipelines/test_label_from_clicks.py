"""The whole command: against SQL on several logs, its bytes, its counts, its errors."""

import json
import random
import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click_builds import digest, read_log, write_log
from hypothesis import given, settings
from hypothesis import strategies as st
from label_oracles import differences, labels_by_sql, labels_in

from base.artifacts import read_tables
from base.schemas import CLICK_LABELS, CLICK_MATRIX, CLICKS, NAME_WORDS, NAMES, SEVERAL_NAMES
from pipelines.beam.shuffle import INLINE, merge, shards_of, split_by_shard
from pipelines.label_from_clicks import main
from pipelines.words.category_names import Name
from pipelines.words.click_matrix import add_up_rows
from pipelines.words.image_labels import labels_of
from pipelines.words.lexicon import build_lexicon
from pipelines.words.name_buckets import add_evidence, label_bucket, name_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)

CATEGORIES = ["Arctic_Tern", "mangrove cuckoo", "yellow billed cuckoo", "cuckoo clock", "black dog", "golden retriever"]
ALIASES = [("goldie", "golden retriever")]
CHINESE = [*ALIASES, ("金毛犬", "golden retriever")]
LOG = [
    ("a", "arctic terns", 7),
    ("a", "western gull", 5),  # no tern
    ("a", "interning", 9),
    ("b", "mangrove cuckoo bird", 6),
    ("b", "cuckoos", 3),  # shared by three categories
    ("c", "可爱的金毛犬图片", 11),
    ("c", "goldie", 2),
    ("c", "black shoes", 4),
    ("d", "black dog and arctic tern", 8),
    ("e", "yellowbilled cuckoo", 1),
    ("e", "holiday", 2),
    ("f", "wallpaper", 3),
    ("b", "mangrove cuckoo bird", 1),
    ("g", "cuckoo clock", 5),
    ("g", "black", 40),
]


@pytest.fixture(autouse=True, scope="module")
def _own_state():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSIGHT_NO_STATE", "1")
        yield


def write_names(folder: Path, categories=CATEGORIES, aliases=ALIASES) -> list[str]:
    """Write the names; return the options that name the files."""
    folder.mkdir(exist_ok=True)
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in categories), encoding="utf-8")
    (folder / "aliases.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in aliases), encoding="utf-8")
    return ["--categories", str(folder / "names.txt"), "--aliases", str(folder / "aliases.tsv")]


def label(log, output: Path, *options: str) -> Path:
    """Run the command in this process; return the output folder."""
    logs = log if isinstance(log, list) else [log]
    main(["--clicks", *map(str, logs), "--output", str(output), *options])
    return output


def labels(folder: Path) -> pl.DataFrame:
    table = read_tables(folder / "labels")
    assert table.schema.equals(CLICK_LABELS)
    return pl.DataFrame(table)


def normal(names, aliases=()) -> dict[str, str]:
    plain = [name.replace("_", " ").lower() for name in names]
    return {name: name for name in plain} | dict(aliases)


@pytest.fixture(scope="module")
def built(tmp_path_factory, _own_state) -> Path:
    """The labels of the log with a bad row and a category that nobody asks for."""
    folder = tmp_path_factory.mktemp("built")
    log = write_log([*LOG, ("h", "", 3)], folder / "log.tsv")
    return label(log, folder / "out", *write_names(folder, [*CATEGORIES, "unseen bird"], CHINESE))


def test_a_small_log_by_hand(built):
    folder = built
    found = {row["image_id"]: row for row in labels(folder).to_dicts()}
    assert {image: row["category"] for image, row in found.items()} == {
        "a": "arctic tern", "b": "mangrove cuckoo", "c": "golden retriever", "d": "arctic tern",
        "e": "yellow billed cuckoo", "f": None, "g": "cuckoo clock",
    }  # fmt: skip
    assert (found["a"]["clicks"], found["a"]["queries"], found["a"]["share"], found["a"]["margin"]) == (7, 1, 1, 1)
    # the clicks of "cuckoos" weigh as much as cuckoo is reliable, a third for each category
    words = {row["word"]: row for row in pl.read_parquet(folder / "words.parquet").to_dicts()}
    # of 16 clicks, 13 come with a whole name and 3 with nothing
    assert words["cuckoo"]["reliability"] == pytest.approx((7 + 1 + 5) / 16, abs=1e-4)
    assert words["cuckoo"]["categories"] == ["cuckoo clock", "mangrove cuckoo", "yellow billed cuckoo"]
    assert words["cuckoo"]["forms"] == ["cuckoo", "cuckoos"]
    third = 3 * 13 / 16 / 3
    assert found["b"]["share"] == pytest.approx((7 + third) / (7 + 3 * third), abs=1e-4)
    assert found["b"]["margin"] == pytest.approx(7 / (7 + 3 * third), abs=1e-4)
    assert found["b"]["categories"] == ["mangrove cuckoo", "cuckoo clock", "yellow billed cuckoo"]
    assert (found["b"]["clicks"], found["b"]["queries"]) == (10, 2)
    # two names share a query equally; the first by name is the label, without a margin
    assert (found["d"]["share"], found["d"]["margin"], found["d"]["shares"]) == (0.5, 0, [0.5, 0.5])
    # black comes with a dog in 8 of 52 clicks: too rarely to name one
    assert words["black"]["reliability"] == pytest.approx(8 / 52, abs=1e-4)
    assert (found["g"]["clicks"], found["g"]["categories"]) == (5, ["cuckoo clock"])
    assert (found["c"]["clicks"], found["c"]["queries"], found["c"]["share"]) == (13, 2, 1)
    assert (found["f"]["share"], found["f"]["margin"], found["f"]["shares"]) == (0, 0, [])


def test_the_summary_adds_up_and_lists_what_is_missing(built):
    folder = built
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["rows_read"], summary["rows_kept"]) == (16, 15)
    assert summary["rows_quarantined"] == {"empty query": 1}
    assert summary["pairs"] == {
        "total": 14, "with nothing": 6, "with part of a name": 1, "with one category": 6, "with several categories": 1
    }  # fmt: skip
    assert summary["clicks"] == {
        "total": sum(clicks for *_, clicks in LOG), "with nothing": 5 + 9 + 4 + 2 + 3 + 40, "with part of a name": 3,
        "with one category": 7 + 7 + 11 + 2 + 1 + 5, "with several categories": 8,
    }  # fmt: skip
    assert summary["queries"]["total"] == len({query for _, query, _ in LOG})
    assert summary["images"] == {"total": 7, "with a name": 6, "without a name": 1, "between several": 1}
    assert summary["names"]["nobody asked for"] == ["golden retriever", "unseen bird"]
    assert summary["categories"]["without an image"] == ["black dog", "unseen bird"]
    assert sum(summary["categories"]["images"].values()) == 6
    for file, schema in (("names", NAMES), ("words", NAME_WORDS), ("several", SEVERAL_NAMES)):
        assert read_tables(folder / f"{file}.parquet").schema.equals(schema)
    assert pl.read_parquet(folder / "several.parquet").rows() == [
        ("black dog and arctic tern", 8, ["arctic tern", "black dog"])
    ]
    asked = {row["name"]: row["clicks"] for row in pl.read_parquet(folder / "names.parquet").to_dicts()}
    assert asked["金毛犬"] == 11
    assert asked["goldie"] == 2
    assert asked["golden retriever"] == 0


def test_without_variants_only_the_words_themselves_count(tmp_path):
    folder = label(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "out", *write_names(tmp_path), "--no-variants")
    forms = dict(pl.read_parquet(folder / "words.parquet").select("word", "forms").rows())
    assert (forms["arctic"], forms["tern"], forms["cuckoo"]) == (["arctic"], ["tern"], ["cuckoo"])
    assert dict(labels(folder).select("image_id", "clicks").rows())["b"] == 7  # without cuckoos


@pytest.mark.parametrize("least", [0.0, 0.3, 1.0])
def test_a_small_log_equals_sql(tmp_path, least):
    folder = label(
        write_log(LOG, tmp_path / "log.tsv"),
        tmp_path / "out",
        *write_names(tmp_path),
        "--least-reliability",
        str(least),
    )
    assert differences(labels_in(labels(folder)), labels_by_sql(LOG, normal(CATEGORIES, ALIASES), least)) == []


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data beside the repository")
@pytest.mark.parametrize("log", ["birds50/source/clicks.tsv", "sogou_web_clicks/clicks.tsv", "captions_zh/clicks.tsv"])
def test_real_logs_equal_sql(tmp_path, log):
    rows = read_log(SHARED / log)
    if log.startswith("birds50"):
        lines = (SHARED / "birds50/source/labels.tsv").read_text(encoding="utf-8").splitlines()
        categories = sorted({line.split("\t")[1] for line in lines})
    elif log.startswith("sogou"):
        categories = ["汶川地震", "地震原因", "救灾物资", "四川地图", "地图", "成都", "电影", "小说", "游戏"]
    else:
        categories = ["滑雪", "冲浪", "棒球", "网球", "长颈鹿", "斑马", "披萨", "小狗", "黑色小狗", "公共汽车", "飞机"]
    folder = label(SHARED / log, tmp_path / "out", *write_names(tmp_path, categories, []))
    found = labels_in(labels(folder))
    assert sum(row[0] is not None for row in found.values()) > 20
    assert differences(found, labels_by_sql(rows, normal(categories), 0.3)) == []


WORDS = [
    *("tern", "terns", "western", "arctic", "arctictern", "black", "cat", "cats", "dog", "cuckoo", "mangrove", "bird"),
    *("gull", "grey", "gray", "seal", "狗", "黑狗", "zebra", "glass", "glasses", "wolf"),
]
NAMES_OF = {
    "tern": "tern", "arctic tern": "arctic tern", "black cat": "black cat", "black dog": "black dog", "狗": "black dog",
    "cuckoo": "cuckoo", "mangrove cuckoo": "mangrove cuckoo", "gray seal": "gray seal", "grey cat": "grey cat",
    "glass": "glass", "glasses": "glasses", "big black cat": "black cat",
}  # fmt: skip
queries = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
logs = st.lists(st.tuples(st.sampled_from("abcd"), queries, st.integers(1, 1000)), min_size=1, max_size=25)
NAME_LIST = sorted((Name(text, category) for text, category in NAMES_OF.items()), key=lambda name: name.category)
SEGMENTER = Segmenter(SEGMENT)
LEXICON = build_lexicon(NAME_LIST, SEGMENTER, variants=True)


def without_beam(rows, least: float, num_buckets: int) -> pa.RecordBatch:
    """Label by our functions without Beam, for speed."""
    log = pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=CLICKS)
    outputs: dict[str, list] = {"buckets": [], "evidence": [], "several": [], "rows": [], "counts": []}
    for number, part in split_by_shard(log, shards_of(log["query"], num_buckets)):
        for output in name_bucket(number, part, LEXICON, SEGMENT, INLINE):
            outputs[output.tag].append(output.value)
    evidence = add_evidence(outputs["evidence"])
    for packed in outputs["buckets"]:
        for output in label_bucket(packed, LEXICON, least, evidence):
            outputs[output.tag].append(output.value)
    return labels_of(add_up_rows(merge(outputs["rows"], CLICK_MATRIX)), LEXICON)


@settings(max_examples=25, deadline=None)
@given(rows=logs, least=st.sampled_from([0.0, 0.3, 0.6]), num_buckets=st.integers(1, 4))
def test_any_log_equals_sql_in_any_buckets(rows, least, num_buckets):
    found = without_beam(rows, least, num_buckets)
    assert (
        differences(labels_in(pl.DataFrame(pa.Table.from_batches([found]))), labels_by_sql(rows, NAMES_OF, least)) == []
    )
    assert found.equals(without_beam(rows[::-1], least, 1))


@settings(max_examples=25, deadline=None)
@given(prefix=st.text("abc", max_size=3), suffix=st.text("xyz", max_size=3), unknown=st.text("qrstuv", min_size=8))
def test_a_name_inside_another_word_and_unknown_words_name_nothing(prefix, suffix, unknown):
    query = f"{prefix}tern{suffix} {unknown}"
    found = without_beam([("a", query, 3), ("b", "tern", 1)], 0.3, 1).to_pylist()
    assert found[0]["category"] == (None if prefix or suffix else "tern")


@settings(max_examples=15, deadline=None)
@given(st.permutations(["tern", "black dog", "gray seal"]), st.integers(1, 10**6))
def test_ties_go_to_the_first_name(categories, clicks):
    rows = [("a", category, clicks) for category in categories]
    [found] = without_beam(rows, 0.3, 2).to_pylist()
    assert (found["category"], found["margin"]) == ("black dog", 0)
    assert found["categories"] == ["black dog", "gray seal", "tern"]
    assert found["share"] == pytest.approx(1 / 3, abs=1e-15)


def test_bytes_do_not_depend_on_files_order_or_run(tmp_path, monkeypatch):
    names = write_names(tmp_path)
    whole = digest(label(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "whole", *names))
    shuffled = random.Random(5).sample(LOG, len(LOG))
    parts = [write_log(shuffled[:4], tmp_path / "x.tsv"), write_log(shuffled[4:], tmp_path / "y.tsv")]
    assert digest(label(parts, tmp_path / "cut", *names)) == whole
    monkeypatch.setattr("pipelines.label_from_clicks.LARGE_BUCKET", 100)
    assert digest(label(parts, tmp_path / "buckets", *names)) == whole


@pytest.mark.slow
def test_bytes_do_not_depend_on_workers(tmp_path):
    names, log = write_names(tmp_path), write_log(LOG * 5, tmp_path / "log.tsv")
    one = digest(label(log, tmp_path / "one", *names))
    options = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")
    assert digest(label(log, tmp_path / "two", *names, *options)) == one


def test_events_count_as_one_click_each(tmp_path):
    plain = digest(label(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "plain", *write_names(tmp_path)))
    events = [(image, query) for image, query, clicks in LOG for _ in range(clicks)]
    random.Random(3).shuffle(events)
    lines = [f"2026-01-01 00:{n // 60:02}:{n % 60:02}\t{q}\t{i}\tuser{n % 3}\n" for n, (i, q) in enumerate(events)]
    (tmp_path / "events.tsv").write_text("".join(lines), encoding="utf-8")
    columns = ("--columns", "time,query,image_id,user")
    found = digest(label(tmp_path / "events.tsv", tmp_path / "events", *write_names(tmp_path), *columns))
    assert found.pop("summary.json") != plain.pop("summary.json")  # the numbers of rows
    assert found == plain


def test_only_the_images_that_are_listed_are_labelled(tmp_path):
    pl.DataFrame({"image_id": ["a", "b", "never clicked"]}).write_parquet(tmp_path / "images.parquet")
    log = write_log(LOG, tmp_path / "log.tsv")
    folder = label(log, tmp_path / "out", *write_names(tmp_path), "--images", str(tmp_path / "images.parquet"))
    found = labels(folder)
    assert dict(found.select("image_id", "category").rows()) == {
        "a": "arctic tern", "b": "mangrove cuckoo", "never clicked": None
    }  # fmt: skip


def test_unsplash_lites_layout_needs_one_command(tmp_path):
    header = "converted_at\tconversion_type\tkeyword\tphoto_id\tanonymous_user_id\tconversion_country\n"
    events = [
        ("mountains", "p1"), ("snowy mountain", "p1"), ("dog", "p1"), ("puppies", "p2"), ("dogs", "p2"), ("", "p2"),
        ("wallpaper", "p3"), ("dog", "gone"),
    ]  # fmt: skip
    lines = [f"2026-02-03 10:11:{n:02}.5\tdownload\t{q}\t{p}\tu-{n}\tDE\n" for n, (q, p) in enumerate(events)]
    (tmp_path / "conversions.tsv000").write_text(header + "".join(lines), encoding="utf-8")
    photos = (
        'photo_id\tphoto_url\tphoto_description\np1\thttps://a\tthe "top\np2\thttps://b\t\np3\thttps://c\t\np4\t\t\n'
    )
    (tmp_path / "photos.tsv000").write_text(photos, encoding="utf-8")
    keywords = (
        "photo_id\tkeyword\tai_service_1_confidence\tai_service_2_confidence\tsuggested_by_user\np4\tdog\t90.1\t\tt\n"
    )
    (tmp_path / "keywords.tsv000").write_text(keywords, encoding="utf-8")
    options = [
        "--params", str(ROOT / "presets/unsplash_lite.yaml"),
        "--categories", str(ROOT / "presets/unsplash_lite_names.txt"),
        "--aliases", str(ROOT / "presets/unsplash_lite_aliases.tsv"),
        "--images", str(tmp_path / "photos.tsv000"),
    ]  # fmt: skip
    folder = label(tmp_path / "conversions.tsv000", tmp_path / "out", *options)
    found = {row[0]: row[1:] for row in labels(folder).select("image_id", "category", "clicks").rows()}
    assert found == {"p1": ("mountain", 3), "p2": ("dog", 2), "p3": (None, 0), "p4": (None, 0)}
    both = [tmp_path / "conversions.tsv000", tmp_path / "keywords.tsv000"]
    found = labels(label(both, tmp_path / "both", *options))
    assert dict(found.select("image_id", "category").rows())["p4"] == "dog"


@pytest.mark.parametrize(
    ("categories", "aliases", "message"),
    [
        ([], [], r"names\.txt: names no category; expected one name in each line"),
        (["crane", "Crane "], [], r"names\.txt: named more than once: 'crane'; two categories can't have one name"),
        (["red cat", "cat, red"], [], r"'cat, red' and 'red cat' have names of the same words: .* merge them"),
        (["cat", "dog"], [("pet", "cat"), ("pet", "dog")], r"aliases\.tsv: 'pet' is a name of both 'cat' and 'dog'"),
        (["cat"], [("kitty", "cats")], r"'kitty' is to be a name of 'cats', which .*names\.txt does not list"),
        (["cat", "dog"], [("dog", "cat")], r"aliases\.tsv: 'dog' is a name of both 'dog' and 'cat'"),
        (["cat", "the of"], [], r"the name 'the of' of the category 'the of' has no word: stop words and signs"),
        (["cat", "!?"], [], r"the name '!\?' of the category '!\?' has no word"),
        (["zebra"], [], r"no query of an image names any of the 1 categories, as 'zebra'; check their language"),
    ],
)
def test_names_that_cannot_be_used_are_refused(tmp_path, caplog, categories, aliases, message):
    (tmp_path / "stop.txt").write_text("the\nof\n", encoding="utf-8")
    log = write_log([("a", "cat and dog", 1)], tmp_path / "log.tsv")
    with pytest.raises(SystemExit) as error:
        label(
            log,
            tmp_path / "out",
            *write_names(tmp_path, categories, aliases),
            "--stop-words",
            str(tmp_path / "stop.txt"),
        )
    assert error.value.code == 2
    assert re.search(message, caplog.text)
    assert not (tmp_path / "out").exists()


def test_a_log_that_cannot_be_used_is_refused(tmp_path, caplog):
    names = write_names(tmp_path)
    for text, message in (("", "the log has no usable row"), ("a\t\t1\n", "too many rows are bad")):
        (tmp_path / "log.tsv").write_text(text)
        with pytest.raises(SystemExit):
            label(tmp_path / "log.tsv", tmp_path / "out", *names)
        assert message in caplog.text
    with pytest.raises(SystemExit):
        label(write_log(LOG, tmp_path / "good.tsv"), tmp_path / "out", *names, "--least-reliability", "1.5")
    assert "label_from_clicks.least_reliability = 1.5" in caplog.text
    with pytest.raises(SystemExit):
        label(tmp_path / "good.tsv", tmp_path / "out", *names, "--params", str(ROOT / "params.yaml"), "--lemmas", "en")
    assert "the file has the parameter lemmas" in caplog.text
    huge = write_log([("a", f"arctic tern {n}", 10**12) for n in range(200)], tmp_path / "huge.tsv")
    with pytest.raises(SystemExit):
        label(huge, tmp_path / "out", *names)
    assert "sums of clicks must be below 140,737,488,355,327" in caplog.text


def test_the_stage_reads_ingested_shards_and_the_sets_own_names(tmp_path):
    for folder in ("clicks", "images", "raw"):
        (tmp_path / folder).mkdir()
    frame = pl.DataFrame(LOG, schema=["image_id", "query", "clicks"], orient="row")
    frame.write_parquet(tmp_path / "clicks" / "part-00000.parquet")
    categories = sorted(normal(CATEGORIES))
    pl.DataFrame({"image_id": list("abcdefg"), "category": [*categories, categories[0]]}).write_parquet(
        tmp_path / "images" / "part-00000.parquet"
    )
    (tmp_path / "raw" / "names.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in ALIASES), encoding="utf-8")
    options = ["--ingested", "--categories", str(tmp_path / "images"), "--params", str(ROOT / "params.yaml")]
    folder = label(tmp_path / "clicks", tmp_path / "out", *options, "--aliases", str(tmp_path / "raw"))
    plain = label(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "plain", *write_names(tmp_path))
    assert digest(folder / "labels") == digest(plain / "labels")
    (tmp_path / "raw" / "names.tsv").unlink()
    without = labels(label(tmp_path / "clicks", tmp_path / "without", *options, "--aliases", str(tmp_path / "raw")))
    assert dict(without.select("image_id", "category").rows())["c"] is None
