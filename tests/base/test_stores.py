import pickle
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_server import BUCKET, KEY_ID, SECRET, environment

from base import stores
from base.artifacts import read_json, reading, write_json
from base.console import UserError
from base.raw_files import matches
from base.stores import StorePath, copy, filesystem, is_address, local_copies, location, matches_in_store, size_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket", StorePath("s3", "bucket")),
        ("gs://bucket/folder/key.tsv", StorePath("gs", "bucket/folder/key.tsv")),
        ("s3://bucket/folder/", StorePath("s3", "bucket/folder")),
        ("folder/key.tsv", Path("folder/key.tsv")),
        ("s3:/bucket/key", Path("s3:/bucket/key")),
    ],
)
def test_a_location_is_an_address_or_a_path(text, expected):
    assert location(text) == expected
    assert location(expected) is expected
    assert is_address(text) == isinstance(expected, StorePath)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"s3://{KEY_ID}:{SECRET}@bucket/key", "credentials"),
        (f"s3://{KEY_ID}@bucket/key", "AWS_ACCESS_KEY_ID"),
        (f"ftp://user:{SECRET}@host/key", "credentials"),
        ("gs://", "names no bucket"),
        ("s3a://bucket/key", "s3:// or gs://"),
        ("https://host/key", "s3:// or gs://"),
    ],
)
def test_other_addresses_are_refused_and_no_credentials_repeated(text, message):
    with pytest.raises(UserError, match=message) as raised:
        location(text)
    assert KEY_ID not in str(raised.value)
    assert SECRET not in str(raised.value)


def test_parts_of_a_path_are_those_of_a_local_path():
    path, local = location("s3://b/one/two.x.tsv"), Path("b/one/two.x.tsv")
    assert (path.name, path.stem, path.suffix) == (local.name, local.stem, local.suffix)
    assert str(path.parent / "three") == "s3://b/one/three"
    assert path.with_name("four") == path.parent / "four"
    assert pickle.loads(pickle.dumps(path)) == path


def test_objects_are_written_listed_read_and_copied(s3, tmp_path):
    folder = location(f"s3://{BUCKET}/objects")
    write_json({"a": 1}, folder / "one.json")
    s3.put("objects/below/two.txt", "zwei\nπ".encode())
    assert read_json(folder / "one.json") == {"a": 1}
    assert [path.name for path in folder.iterdir()] == ["below", "one.json"]
    assert [(str(path), size) for path, size in folder.objects()] == [
        (f"s3://{BUCKET}/objects/below/two.txt", 7),
        (f"s3://{BUCKET}/objects/one.json", 13),
    ]
    assert folder.glob("*.json") == [folder / "one.json"]
    assert (folder.is_dir(), folder.is_file(), (folder / "below").is_dir()) == (True, False, True)
    assert not (folder / "nothing").exists()
    assert (folder / "nothing").iterdir() == []
    two = folder / "below" / "two.txt"
    assert two.read_text() == "zwei\nπ"
    with two.open("r") as lines:
        assert lines.readlines() == ["zwei\n", "π"]
    with two.open() as stream:
        assert (stream.seek(-2, 2), stream.read()) == (5, "π".encode())
    with local_copies([two, tmp_path]) as (fetched, same):
        assert (fetched.read_bytes(), same) == ("zwei\nπ".encode(), tmp_path)
    assert not fetched.exists()
    for target in (folder / "again.txt", tmp_path / "again.txt"):
        copy(two, target)
        assert size_of(target) == 7
    copy(tmp_path / "again.txt", folder / "up.txt")
    assert s3.objects("objects/up.txt") == {"objects/up.txt": "zwei\nπ".encode()}
    folder.remove_all()
    assert s3.objects("objects/") == {}


def test_a_block_that_fails_writes_no_object(s3):
    with pytest.raises(ValueError, match="compliant"):
        write_json({"a": float("nan")}, location(f"s3://{BUCKET}/failed.json"))
    assert s3.objects("failed") == {}


NAMES = st.lists(st.sampled_from(["a", "b.tsv", ".c", "_d", "a1"]), min_size=1, max_size=3).map("/".join)
MAGIC = ["*", "**", "?*", "*.tsv", "[ab]*", "_*", ".*"]
GLOBS = st.tuples(st.sampled_from(MAGIC), st.lists(st.sampled_from(["a", *MAGIC]), max_size=2))


@settings(max_examples=50)
@given(st.sets(NAMES, min_size=1, max_size=6), GLOBS.map(lambda parts: "/".join([parts[0], *parts[1]])))
def test_globs_match_what_they_match_on_a_disk(tmp_path_factory, names, pattern):
    folder = tmp_path_factory.mktemp("globs")
    names = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    on_disk = set()
    for found in matches(f"{folder}/{pattern}"):
        below = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
        on_disk |= {
            str(path.relative_to(folder))
            for path in below
            if not any(part.startswith(".") for part in path.relative_to(found).parts)
        }
    with pytest.MonkeyPatch.context() as patch:
        everything = [(StorePath("s3", f"bucket/{name}"), 1) for name in sorted(names)]

        def objects(path: StorePath) -> list[tuple[StorePath, int]]:
            return [(one, size) for one, size in everything if one.key.startswith(f"{path.key}/")]

        patch.setattr(StorePath, "objects", objects)
        assert {path.key.removeprefix("bucket/") for path in matches_in_store(location(f"s3://bucket/{pattern}"))} == (
            on_disk
        )


def refused(action) -> str:
    """Return the message of an action's user error, which it must raise in bounded time."""
    started = time.monotonic()
    with pytest.raises((UserError, FileNotFoundError)) as raised:
        action()
    assert time.monotonic() - started < 30
    assert KEY_ID not in str(raised.value)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_errors_name_the_address_and_what_to_do(s3):
    missing = location(f"s3://{BUCKET}/missing")
    assert refused(missing.open) == f"{missing}: no such object or folder"
    elsewhere = location("s3://no-such-bucket/key")
    assert "has no bucket no-such-bucket" in refused(lambda: elsewhere.put_text("x"))
    assert "has no bucket no-such-bucket" in refused(elsewhere.iterdir)
    damaged = location(s3.put("damaged.parquet", b"PAR1 no"))
    with pytest.raises(UserError, match=r"damaged\.parquet: cannot be read as Parquet"), reading(damaged):
        raise OSError("no magic")


def test_a_server_that_refuses_access(s3, denying_server):
    with environment(denying_server):
        path = location(f"s3://{BUCKET}/key")
        assert "gives no access" in refused(path.open)
        assert "AWS_SECRET_ACCESS_KEY" in refused(lambda: path.put_text("x"))


def test_a_server_that_is_gone_or_silent_is_an_error_in_bounded_time(monkeypatch):
    monkeypatch.setattr(stores, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with environment(url):
            assert "doesn't answer" in refused(location("s3://bucket/key").exists)
    with environment(url):
        assert "AWS_ENDPOINT_URL" in refused(lambda: location("s3://bucket/key").put_text("x"))


def test_the_client_is_one_for_a_process(s3):
    assert filesystem("s3") is filesystem("s3")


def test_an_emulator_of_google_s_store_is_named_in_the_environment(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        filesystem.cache_clear()
        assert filesystem("gs").type_name == "gcs"
    filesystem.cache_clear()
