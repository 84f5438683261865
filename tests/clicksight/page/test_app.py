"""The page's answers: what they say, and that hostile requests get an error and nothing else."""

import io
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
from click_pictures import COLOURS, WORDS, Colours
from hostile_pictures import HOSTILE
from PIL import Image
from served_page import CATEGORIES, RATE, asking, make_shelf, served, served_example

from base import schemas
from base.artifacts import write_table
from clicksight.page.app import found_in, lists_of
from clicksight.page.limits import Limits
from clicksight.search import Index
from model.frozen_features import as_lists
from model.prediction import Prediction, Scored
from pipelines.words.segmentation import SegmentParams

PLAIN = {"stop_words": None, "dictionary": None, "user_dictionary": None, "minimum_length": 1, "lemmas": None}


def png(colour: tuple[int, int, int] | str, size: tuple[int, int] = (40, 30)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return written.getvalue()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_example(tmp_path_factory.mktemp("shelf")) as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with asking(address) as found:
        yield found


def test_every_list_of_a_prediction_is_shown_with_its_title() -> None:
    names = {"categories": "dog", "words": "paw", "labels": "wet", "tags": "mine", "texts": "A dog runs."}
    said = Prediction(**{of: [Scored(name, 0.25)] for of, name in names.items()})
    assert [(one["title"], [entry["name"] for entry in one["entries"]]) for one in lists_of(said)] == [
        ("Shows", ["dog"]),
        ("People would click it for", ["paw"]),
        ("Labels", ["wet"]),
        ("Tags for this user", ["mine"]),
        ("Nearest texts", ["A dog runs."]),
    ]


def test_a_picture_has_categories_words_and_similar_pictures(client: httpx.Client) -> None:
    said = client.post("/models/0/predict", content=png(COLOURS["green"])).json()
    assert [one["kind"] for one in said["lists"]] == ["category", "word"]
    categories, words = (one["entries"] for one in said["lists"])
    assert categories[0]["name"] == "green thing"
    assert sum(one["value"] for one in categories) == pytest.approx(1, abs=1e-3)
    assert words[0]["name"] == "grass"
    names = [one["name"] for one in said["similar"]]
    assert names[0] == "green.png"  # no folder is told
    assert sorted(names) == ["blue.png", "green.png", "red.png"]
    thumbnail = client.get("/" + said["similar"][0]["picture"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    colour = np.asarray(Image.open(io.BytesIO(thumbnail.content)), int)[15, 20]
    assert np.abs(colour - COLOURS["green"]).max() < 8


def test_a_model_without_index_or_anything_to_say_answers_with_nothing(client: httpx.Client) -> None:
    said = client.post("/models/1/predict", content=png("red")).json()
    assert said == {"lists": [], "number": None, "nothing_fits": False, "similar": []}


def test_the_page_learns_what_a_model_reads_beside_a_picture(client: httpx.Client) -> None:
    assert [client.get(f"/models/{number}").json() for number in (0, 1)] == [{"reads": []}, {"reads": ["history"]}]
    assert client.get("/models/2").status_code == 404


def test_the_network_looks_once_at_a_picture_even_with_an_index(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = Colours.forward
    monkeypatch.setattr(Colours, "forward", lambda self, images: looks.append(len(images)) or look(self, images))
    assert client.post("/models/0/predict", content=png(COLOURS["red"])).json()["similar"]
    assert looks == [1]


def test_pictures_with_one_name_have_thumbnails_of_their_own(tmp_path: Path) -> None:
    vectors = np.array([[0, 1], [1, 0], [0.6, 0.8]], np.float32)
    columns = [pa.array(["x.png"] * 3), as_lists(vectors), pa.array([b"0", b"1", b"2"])]
    write_table(pa.Table.from_arrays(columns, schema=schemas.PICTURE_INDEX), tmp_path / "pictures.parquet")
    index = Index(tmp_path, Path("model"), "", ["a", "b"], SegmentParams.model_validate(PLAIN))
    shown = found_in(index, 7, np.array([1, 0], np.float32), 3)
    assert [one["picture"] for one in shown] == [f"galleries/7/pictures/{row}" for row in (1, 2, 0)]


@pytest.mark.parametrize("asked", ["", "?kind=category&name=green thing", "?kind=word&name=grass"])
def test_a_map_is_bright_where_the_name_comes_from(client: httpx.Client, asked: str) -> None:
    half = Image.new("RGB", (32, 32), (60, 60, 60))
    half.paste((0, 240, 0), (0, 0, 14, 32))
    written = io.BytesIO()
    half.save(written, "PNG")
    answer = client.post(f"/models/0/explain{asked}", content=written.getvalue())
    assert answer.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(answer.content)), float)
    assert shown.shape == (320, 640, 3)  # the picture, and beside it the map
    left, right = shown[:, 320:480].mean(), shown[:, 480:].mean()
    assert left > 1.5 * right


def test_words_find_pictures_and_unknown_ones_are_named(client: httpx.Client) -> None:
    answer = client.get("/galleries/0/search", params={"words": "blue sky"}).json()
    assert answer["found"][0]["name"] == "blue.png"
    assert answer["notes"] == ["Left out, as the model doesn't know them: blue."]
    answer = client.get("/galleries/0/search", params={"words": "nothing"}).json()
    assert answer == {"found": [], "notes": ["The model knows none of these words."]}


def test_nothing_fits_below_the_cut_offs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    with (
        served(make_shelf(tmp_path, monkeypatch, cut_offs=True)) as found,
        httpx.Client(base_url=found, trust_env=False) as client,
    ):
        answers = [
            client.get("/galleries/0/search", params={"words": word, "all": everything}).json()
            for word, everything in (("sky", False), ("grass", False), ("grass", True))
        ]
        assert [[one["name"] for one in answer["found"]][:1] for answer in answers] == [
            ["blue.png"], [], ["green.png"],
        ]  # fmt: skip
        assert answers[1]["notes"] == ["Nothing fits: no picture is above the cut-offs, above which 75% are right."]
        assert 'id="everything"' in client.get("/").text


def test_the_page_offers_models_and_words_and_has_no_foreign_part(client: httpx.Client) -> None:
    answer = client.get("/")
    text = answer.text
    for shown in ("RUN, seed 0", "OTHER, seed 3", "3 pictures", *WORDS):
        assert shown in text
    assert 'id="everything"' not in text  # the index has no cut-offs
    assert "http" not in text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in ("page.css", "page.js"):
        assert client.get(f"/{name}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/app.py", "/..%2fserve.py", "/page.html.jinja", "/%2e%2e/%2e%2e/etc/passwd", "/galleries/0/pictures/3",
        "/galleries/0/pictures/-1", "/galleries/1/pictures/0", "/galleries/1/search?words=sky", "/docs",
        "/openapi.json", "/galleries/0/pictures/99999999999999999999",
    ],
)  # fmt: skip
def test_other_files_and_rows_are_not_there(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/galleries/0/pictures/..%2f..%2frun.json", 404),
        ("GET", "/galleries/0/pictures/a", 422),
        ("GET", "/galleries/0/search", 422),
        ("GET", f"/galleries/0/search?words={'a' * 501}", 422),
        ("POST", "/models/2/predict", 404),
        ("POST", "/models/-1/predict", 404),
        ("POST", "/models/x/predict", 422),
        ("POST", "/models/0/explain?kind=nothing", 422),
        ("POST", "/models/0/explain?kind=word&name=unknown", 409),
        ("POST", "/models/1/explain", 409),  # says nothing that could be explained
        ("PUT", "/models/0/predict", 405),
    ],
)
def test_what_is_no_request_has_its_status(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, content=png("red") if method == "POST" else None)
    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_have_a_reason(client: httpx.Client, name: str) -> None:
    data, reason = HOSTILE[name]
    for question in ("predict", "explain"):
        answer = client.post(f"/models/0/{question}", content=data)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"This file can't be used: {reason}")
    assert client.post("/models/0/predict", content=png("red")).status_code == 200


def test_too_large_or_empty_bodies_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    with (
        served(make_shelf(tmp_path, monkeypatch), Limits(RATE, most_bytes=5000)) as found,
        httpx.Client(base_url=found, trust_env=False) as client,
    ):
        assert client.post("/models/0/predict", content=b"").status_code == 400
        assert client.post("/models/0/predict", content=b"x" * 5001).status_code == 413
        parts = (b"x" * 1000 for _ in range(100))  # without a length
        assert client.post("/models/0/predict", content=parts).status_code == 413
        assert client.post("/models/0/predict", content=png("red")).status_code == 200


def test_an_address_has_so_many_requests_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    with (
        served(make_shelf(tmp_path, monkeypatch), Limits("3/minute")) as found,
        httpx.Client(base_url=found, trust_env=False) as client,
    ):
        got = [client.post("/models/0/predict", content=png("red")) for _ in range(5)]
        assert [answer.status_code for answer in got] == [200, 200, 200, 429, 429]
        assert got[-1].headers["retry-after"] == "60"
        assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_pages_and_names_are_refused(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert client.get("/", headers=headers).status_code == status
    assert client.post("/models/0/predict", content=png("red"), headers=headers).status_code == status


def test_200_uploads_at_once_end_in_an_answer_or_a_refusal_and_need_little_memory(address: str) -> None:
    large = png("green", (2000, 1500))
    before = psutil.Process().memory_info().rss
    peak, over = [before], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with asking(address, at_once=200) as client:
        with ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda _: client.post("/models/0/predict", content=large), range(200)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) <= {200, 503}
        assert counts[200] >= 24
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} <= {"1"}
        right = [answer.json()["lists"][0]["entries"][0]["name"] for answer in answers if answer.status_code == 200]
        assert set(right) == {"green thing"}
        assert (
            client.post("/models/0/predict", content=png("red")).json()["lists"][0]["entries"][0]["name"]
            == (CATEGORIES[0])
        )
    over.set()
    watcher.join()
    assert peak[0] - before < 500_000_000  # client and server are one process here
