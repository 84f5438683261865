import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from model.frozen_features import (
    Frozen,
    FrozenParams,
    as_lists,
    embed,
    features_of,
    frozen_entry,
    frozen_net_of,
    frozen_of,
    read_frozen,
)
from model.nets.backbones import Visual, build_backbone
from model.nets.params import BackboneParams

PARAMS = FrozenParams(backbone="plain", weights="none", image_size=32, resize=36, batch_size=3, threads=1)


def photograph(seed: int, size: tuple[int, int] = (130, 97)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def pixels(encoded: bytes, resize: int, size: int) -> np.ndarray:
    """Return the middle square, by Pillow alone."""
    with Image.open(io.BytesIO(encoded)) as opened:
        image = opened.convert("RGB")
    scale = resize / min(image.size)
    width, height = (max(resize, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of image-text pairs, of 4 and 1 pictures, and one without any."""
    files = []
    for number, ids in enumerate((["d", "a", "c", "b"], [], ["e"])):
        sizes = [(130, 97), (97, 211), (64, 64), (40, 36), (150, 90)]
        rows = [
            {"pair_id": name, "category": "x", "split": None, "text": "t", "width": 1, "height": 1,
             "image": {"bytes": photograph(ord(name), sizes[ord(name) - ord("a")]), "path": None}}
            for name in ids
        ]  # fmt: skip
        files.append(tmp_path / f"part-{number:05d}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schemas.PAIRS), files[-1])
    return files


def expected(kind: str, ids: str) -> np.ndarray:
    torch.manual_seed(0)
    net = build_backbone(PARAMS).eval()
    images = np.stack([pixels(photograph(ord(i), s), 36, 32) for i, s in zip(ids, SIZES(ids), strict=True)])
    with torch.inference_mode():
        visual = net(torch.from_numpy(images))
    omega = visual.omega.numpy()
    return {
        "mean and maximum": np.concatenate([omega.mean((2, 3)), omega.max((2, 3))], axis=1),
        "map": omega.reshape(len(ids), -1),
        "phi": visual.phi.numpy(),
    }[kind]


def SIZES(ids: str) -> list[tuple[int, int]]:
    return [[(130, 97), (97, 211), (64, 64), (40, 36), (150, 90)][ord(name) - ord("a")] for name in ids]


@pytest.mark.parametrize(("kind", "length"), [("mean and maximum", 256), ("map", 128 * 4 * 4), ("phi", 128)])
def test_features_are_those_of_the_network_on_middle_squares(
    shards: list[Path], tmp_path: Path, kind: str, length: int
) -> None:
    output = tmp_path / "out"
    assert embed(shards, output, PARAMS, kind, id_column="pair_id", domain="target") == 5  # type: ignore[arg-type]
    assert [path.name for path in sorted(output.iterdir())] == [path.name for path in shards]
    table = read_tables(output)
    assert table.schema.equals(schemas.EMBEDDED)
    assert table["image_id"].to_pylist() == ["d", "a", "c", "b", "e"]
    assert set(table["domain"].to_pylist()) == {"target"}
    found = np.array(table["feature"].to_pylist(), np.float32)
    assert found.shape == (5, length)
    np.testing.assert_allclose(found, expected(kind, "dacbe"), rtol=1e-4, atol=1e-5)


def test_the_batch_size_changes_no_more_than_rounding_and_the_domain_column_is_taken(
    shards: list[Path], tmp_path: Path
) -> None:
    rows = pq.read_table(shards[0])
    images = tmp_path / "images.parquet"
    columns = [rows["pair_id"], pa.array(["source", "target", "target", "source"]), *(
        rows[name] for name in ("category", "width", "height", "image")
    )]  # fmt: skip
    pq.write_table(pa.table(columns, schema=schemas.IMAGES), images)
    embed([images], tmp_path / "one", PARAMS.model_copy(update={"batch_size": 1}))
    embed([images], tmp_path / "all", PARAMS.model_copy(update={"batch_size": 9}))
    one, every = read_tables(tmp_path / "one"), read_tables(tmp_path / "all")
    assert one["domain"].to_pylist() == ["source", "target", "target", "source"]
    np.testing.assert_allclose(
        np.array(one["feature"].to_pylist()), np.array(every["feature"].to_pylist()), rtol=1e-4, atol=1e-5
    )


def test_an_image_that_cannot_be_decoded_is_named(shards: list[Path], tmp_path: Path) -> None:
    rows = pq.read_table(shards[0]).to_pylist()
    rows[2]["image"]["bytes"] = b"no picture"
    pq.write_table(pa.Table.from_pylist(rows, schemas.PAIRS), shards[0])
    with pytest.raises(UserError, match="image 'c': cannot decode an image of 10 bytes"):
        embed(shards, tmp_path / "out", PARAMS, id_column="pair_id", domain="source")
    assert not (tmp_path / "out").exists()


def test_the_map_of_vgg_has_the_papers_length_at_224_pixels() -> None:
    visual = Visual(torch.rand(2, 512, 7, 7), torch.rand(2, 4096))  # omega of VGG-19 is pool5
    assert features_of(visual, "map").shape == (2, 25_088)
    assert features_of(visual, "phi").shape == (2, 4096)
    assert features_of(visual, "mean and maximum").shape == (2, 1024)


def test_rows_become_lists() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_lists(values).to_pylist() == [[0, 1, 2], [3, 4, 5]]
    assert as_lists(np.zeros((0, 4), np.float32)).to_pylist() == []


def test_the_files_say_what_made_them(shards: list[Path], tmp_path: Path) -> None:
    for name in ("one", "again"):
        embed(shards, tmp_path / name, PARAMS, "phi", id_column="pair_id", domain="target")
    one, again = (sorted((tmp_path / name).iterdir()) for name in ("one", "again"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in again]
    frozen = read_frozen(tmp_path / "one")
    assert frozen == read_frozen(one[1])  # a shard without rows
    assert frozen == Frozen(
        network=BackboneParams(backbone="plain", weights="none", image_size=32, resize=36),
        kind="phi",
        weights_digest=None,
    )
    faster = PARAMS.model_copy(update={"batch_size": 7, "threads": 2})
    assert frozen_of(faster, "phi") == frozen


def test_features_of_several_networks_are_refused_and_those_of_others_are_unknown(
    shards: list[Path], tmp_path: Path
) -> None:
    embed(shards, tmp_path / "out", PARAMS, "phi", id_column="pair_id", domain="target")
    table = pq.read_table(tmp_path / "out" / shards[2].name)
    for metadata, message in (
        (None, "part-00000.parquet and part-00002.parquet were made by different networks"),
        ({"clicksight.frozen": "{}"}, "part-00000.parquet and part-00002.parquet were made by different networks"),
    ):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "out" / shards[2].name)
        with pytest.raises(UserError, match=message):
            read_frozen(tmp_path / "out")
    with pytest.raises(UserError, match=r"the metadata clicksight\.frozen is not as embed writes it"):
        read_frozen(tmp_path / "out" / shards[2].name)
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "own.parquet")
    assert read_frozen(tmp_path / "own.parquet") is None


@pytest.mark.parametrize(("kind", "length"), [("mean and maximum", 256), ("map", 128 * 4 * 4), ("phi", 128)])
def test_the_network_of_a_run_makes_the_same_features(
    shards: list[Path], tmp_path: Path, kind: str, length: int
) -> None:
    embed(shards, tmp_path / "out", PARAMS, kind, id_column="pair_id", domain="target")  # type: ignore[arg-type]
    run = json.loads(json.dumps({"frozen": frozen_entry(read_frozen(tmp_path / "out"))}))
    torch.manual_seed(5)
    net = frozen_net_of(tmp_path, run, length)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)  # building it draws no random numbers of the caller
    assert not net.training
    assert net.num_features == length
    images = np.stack([pixels(photograph(ord(i), s), 36, 32) for i, s in zip("dacbe", SIZES("dacbe"), strict=True)])
    with torch.no_grad():
        found = net(torch.from_numpy(images))
    stored = np.array(read_tables(tmp_path / "out")["feature"].to_pylist(), np.float32)
    np.testing.assert_allclose(found, stored, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=rf"reads 7 features, its frozen ConvNet makes {length}"):
        frozen_net_of(tmp_path, run, 7)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({}, "its run.json doesn't say what made them"),
        ({"frozen": None}, "its run.json doesn't say what made them"),
        ({"frozen": {"kind": "phi"}}, "model/run.json: frozen: "),
    ],
)
def test_a_run_that_does_not_say_what_made_its_features_is_refused(run: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        frozen_net_of(Path("model"), run, 7)
