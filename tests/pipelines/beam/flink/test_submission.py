import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines.beam.flink.submission import Submission

# Stands for Java: keeps what it was given, prints two lines, ends with the exit code 3 or waits.
JAVA = """#!/bin/sh
echo "$@" > {folder}/arguments
cp "$FLINK_CONF_DIR"/* {folder}
echo "Caused by: x.Y: outer"
echo "Caused by: x.Z: inner"
echo last
{end}
"""


def submit(folder: Path, end: str, address: str = "http://there:8081") -> Submission:
    java = folder / "java"
    java.write_text(JAVA.format(folder=folder, end=end))
    java.chmod(0o755)
    job = beam_runner_api_pb2.Pipeline(root_transform_ids=["root"])
    return Submission(folder / "server.jar", str(java), address, "mine", job, {"beam:option:job_name:v1": "mine"})


def until_ended(submission: Submission) -> None:
    deadline = time.monotonic() + 10
    while not submission.has_ended():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("address", "port", "is_encrypted"),
    [("http://there:8081", 8081, False), ("http://there", 80, False), ("https://there", 443, True)],
)
def test_flinks_command_line_gets_a_jar_with_the_job(
    tmp_path: Path, address: str, port: int, is_encrypted: bool
) -> None:
    submission = submit(tmp_path, "exit 3", address)
    until_ended(submission)
    assert submission.reason() == "Caused by: x.Z: inner"
    submission.close()
    with zipfile.ZipFile(tmp_path / "job.jar") as jar:
        files = {name: json.loads(jar.read(name)) for name in jar.namelist()}
    assert files == {
        "BEAM-PIPELINE/pipeline-manifest.json": {"defaultJobName": "job"},
        "BEAM-PIPELINE/job/pipeline.json": {"rootTransformIds": ["root"]},
        "BEAM-PIPELINE/job/pipeline-options.json": {"beam:option:job_name:v1": "mine"},
    }
    settings = json.loads((tmp_path / "config.yaml").read_text())
    assert (settings["rest.address"], settings["rest.port"]) == ("there", port)
    assert settings["security.ssl.rest.enabled"] is is_encrypted
    arguments = (tmp_path / "arguments").read_text().split()
    class_path = arguments[arguments.index("-cp") + 1].split(os.pathsep)
    assert class_path[0] == str(tmp_path / "server.jar")
    assert arguments[-1] == class_path[1]
    assert not Path(class_path[1]).exists()


def test_a_closed_submission_has_ended_and_leaves_no_file(tmp_path: Path) -> None:
    submission = submit(tmp_path, "exec sleep 1000")
    assert not submission.has_ended()
    folder = submission.log.parent
    submission.close()
    assert submission.has_ended()
    assert not folder.exists()
