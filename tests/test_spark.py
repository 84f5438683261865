"""A build of click features on Spark, in local mode, has the same bytes as in process; run by `make test-spark`."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_builds import LOG, build, digest, write_log

JOB_SERVER = Path(__file__).parents[1] / ".state/spark/job-server.jar"
# What Spark 3.5 needs of Java 17 (its JavaModuleOptions).
PACKAGES = (
    "java.lang", "java.lang.invoke", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent",
    "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar",
)  # fmt: skip
READY_S = 60

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.spark,
    pytest.mark.slow,
    # At the end of a job Spark closes the connection to the worker, which raises an error in Beam's reading thread.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture
def job_server(tmp_path: Path) -> Iterator[str]:
    """Start a job server that runs jobs on two threads of its own process; yield its address."""
    if not JOB_SERVER.is_file():
        pytest.fail(f"{JOB_SERVER} does not exist: `make test-spark` fetches it")
    java = ["java", "-Xmx700m", *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in PACKAGES)]
    settings = ["-Dspark.driver.host=127.0.0.1", "-Dspark.driver.bindAddress=127.0.0.1", "-Dspark.ui.enabled=false"]
    ports = ["--job-host", "127.0.0.1", "--job-port", "0", "--artifact-port", "0", "--expansion-port", "0"]
    log = tmp_path / "job-server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [*java, *settings, "-jar", str(JOB_SERVER), *ports, "--spark-master-url", "local[2]"],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_S
        while (found := re.search(r"JobService started on (\S+)", log.read_text())) is None:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found[1]
    finally:
        server.kill()
        server.wait()


def test_a_build_has_the_same_bytes(tmp_path, monkeypatch, job_server):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    log = write_log([*LOG, ("", "no image", 1)], tmp_path / "log.tsv")
    options = ["--runner", "PortableRunner", "--job_endpoint", job_server, "--environment_type", "LOOPBACK"]
    build(log, tmp_path / "on-spark", *options)
    assert digest(tmp_path / "on-spark") == digest(build(log, tmp_path / "in-process"))
