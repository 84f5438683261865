"""Hand a Beam job to a Flink cluster: a Java program translates it, submits it, and ends.

The program is Flink's own command line, and the main class that it calls is Beam's runner for a jar with a job in it.
Other than Beam's job server it listens on no port, so nobody else can hand it jobs, and it sends the cluster this small
jar only. (Called directly, Beam's runner sends its whole class path, 160 MB, with each job.)
"""

import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apache_beam.portability.api import beam_runner_api_pb2
from google.protobuf import json_format

from pipelines.beam.flink.settings import LOGGING, OPENS, environment

COMMAND_LINE = "org.apache.flink.client.cli.CliFrontend"
MAIN = "org.apache.beam.runners.flink.FlinkPipelineRunner"
FOLDER = "BEAM-PIPELINE"  # this name and those of the files are Beam's (PortablePipelineJarUtils)
HEAP_MIB = 384
STOP_S = 5  # seconds that the program has to end before it is killed


class Submission:
    """A job's way to a cluster.

    Attributes:
        name: of the job.
    """

    def __init__(
        self,
        jar: Path,
        java: str,
        address: str,
        name: str,
        job: beam_runner_api_pb2.Pipeline,
        options: Mapping[str, Any],
    ) -> None:
        """Start the Java program.

        Args:
            jar: the job server's.
            java: the Java launcher.
            address: ``http://HOST:PORT`` of the JobManager.
            name: of the job; no other job of the cluster may have it.
            job: fused as far as Flink needs it.
            options: of the job, by their names in Beam's protocol, as in ``beam:option:flink_master:v1``.
        """
        self.name = name
        self._folder = Path(tempfile.mkdtemp(prefix="clicksight-job-"))
        job_jar = self._folder / "job.jar"
        with zipfile.ZipFile(job_jar, "w", zipfile.ZIP_DEFLATED) as content:
            content.writestr(f"{FOLDER}/job/pipeline.json", json_format.MessageToJson(job))
            content.writestr(f"{FOLDER}/job/pipeline-options.json", json.dumps(options))
            content.writestr(f"{FOLDER}/pipeline-manifest.json", '{"defaultJobName": "job"}')
        where = urlsplit(address)
        settings = {
            "execution.target": "remote",
            "rest.address": where.hostname,
            "rest.port": where.port or (443 if where.scheme == "https" else 80),
            "security.ssl.rest.enabled": where.scheme == "https",
            "classloader.resolve-order": "parent-first",  # all classes are on this program's own class path
        }
        (self._folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        self.log = self._folder / "log"
        class_path = os.pathsep.join([str(jar.absolute()), str(job_jar)])
        memory = (f"-Xmx{HEAP_MIB}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        with self.log.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    java, *memory, *OPENS, *LOGGING, "-cp", class_path, COMMAND_LINE,
                    "run", "--detached", "--class", MAIN, str(job_jar),
                ],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**environment(), "FLINK_CONF_DIR": str(self._folder)},
                start_new_session=True,  # Ctrl-C must reach the command only, which then cancels the job
            )  # fmt: skip

    def has_ended(self) -> bool:
        """Return True if the program has ended, with the job or before it."""
        return self._process.poll() is not None

    def reason(self) -> str:
        """Return the innermost cause of the program's failure, or the last line that it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() or ["it printed nothing"]
        causes = [line for line in lines if line.startswith("Caused by: ")]
        return (causes or lines)[-1]

    def close(self) -> None:
        """End the program, which doesn't end the job, and delete its files."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
