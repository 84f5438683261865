import json

import pytest
from s3_server import BUCKET

from base.console import UserError
from base.publication import POINTER, current, pointer_of, published
from base.stores import location


@pytest.fixture
def output(s3, request):
    return location(f"s3://{BUCKET}/{request.node.name}")


def publish(output, name: str, text: str) -> str:
    """Publish a build with one file; return the name of its folder."""
    with published(output, name) as folder:
        (folder / "part").put_text(text)
    return folder.name


def below(s3, output) -> dict[str, bytes]:
    prefix = f"{output.key.partition('/')[2]}/"
    return {key.removeprefix(prefix): content for key, content in s3.objects(prefix).items()}


def test_the_pointer_is_written_last_and_names_all_files(s3, output, tmp_path):
    assert (pointer_of(output), current(output), current(tmp_path)) == (None, output, tmp_path)
    with published(output, "x") as folder:
        (folder / "part").put_text("one")
        (folder / "below" / "part").put_text("three")
        assert pointer_of(output) is None
    assert folder.name.startswith("build-x-")
    assert below(s3, output).keys() == {"current.json", f"{folder.name}/part", f"{folder.name}/below/part"}
    assert json.loads(below(s3, output)["current.json"]) == {
        "build": folder.name,
        "former": None,
        "files": {"below/part": 5, "part": 3},
    }
    assert current(output) == folder


def test_the_build_before_the_current_one_stays_and_an_older_one_goes(s3, output):
    builds = [publish(output, name, text) for name, text in (("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"))]
    assert len(set(builds)) == 4
    files = below(s3, output)
    assert json.loads(files.pop("current.json"))["former"] == builds[2]
    assert files == {f"{builds[2]}/part": b"3", f"{builds[3]}/part": b"4"}


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt()])
def test_a_run_that_fails_leaves_the_former_output_and_no_rubbish(s3, output, error):
    publish(output, "a", "a")
    before = below(s3, output)
    with pytest.raises(type(error)), published(output, "b") as folder:  # noqa: PT012 - the output is a block
        (folder / "part").put_text("half")
        raise error
    assert below(s3, output) == before


def test_what_a_killed_run_left_is_deleted_by_the_next_with_the_same_inputs(s3, output):
    s3.put(f"{output.key.partition('/')[2]}/build-a-killed/unfinished", b"")
    s3.put(f"{output.key.partition('/')[2]}/build-a-killed/part", b"ha")
    folder = publish(output, "a", "half")
    assert below(s3, output).keys() == {"current.json", f"{folder}/part"}


def test_unfinished_builds_of_other_inputs_are_named(s3, output, caplog):
    s3.put(f"{output.key.partition('/')[2]}/build-killed/part", b"half")
    publish(output, "a", "a")
    assert f"delete them if none still runs: {output}/build-killed" in caplog.text


def test_of_two_runs_with_the_same_inputs_the_later_one_goes_on(s3, output):
    with pytest.raises(UserError, match="another run with the same inputs"), published(output, "a") as folder:  # noqa: PT012
        later = publish(output, "a", "whole")
        (folder / "part").put_text("late")
    assert below(s3, output).keys() == {"current.json", f"{later}/part"}


def test_what_cannot_be_deleted_is_named(s3, output, caplog, monkeypatch):
    def fail(self):
        raise UserError("gone")

    with pytest.raises(UserError, match="first"), published(output, "a") as folder:  # noqa: PT012
        monkeypatch.setattr(type(output), "remove_all", fail)
        raise UserError("first")
    assert f"{folder}: an unfinished build is left here" in caplog.text


def test_outputs_that_cannot_be(s3, output):
    with pytest.raises(UserError, match="is a whole bucket"), published(location(f"s3://{BUCKET}"), "a"):
        pass
    (output / POINTER).put_text("[]")
    with pytest.raises(UserError, match="is no pointer to a build"), published(output, "a"):
        pass
    with (
        pytest.raises(UserError, match="has no bucket no-such"),
        published(location("s3://no-such/out"), "a"),
    ):
        pytest.fail("the job ran")
