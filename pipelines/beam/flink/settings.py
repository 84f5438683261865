"""The programs of a session cluster on this machine: their commands, and the files of settings that they read.

All programs are in the class path of the job server's jar, so nothing but Beam's runner has to be downloaded. They
listen on 127.0.0.1 only. (While a job runs, however, Beam's part of a TaskManager listens on all addresses for the
job's workers: Beam has no setting for it. See docs/cluster.md.)

One ZooKeeper keeps the JobManager's unfinished jobs, with a folder on disk for their contents. So a JobManager that was
killed and started again goes on with them (Flink: "high availability"). Flink 1.19 then runs a batch job from its
beginning.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(".state/flink")  # of a cluster's logs and state
JOB_SERVER = FOLDER / "job-server.jar"  # `make cluster` and `make test-flink` download it
HOST = "127.0.0.1"
ZOOKEEPER, JOB_MANAGER = "zookeeper", "jobmanager"
# A worker that no step of a job uses is kept so long for the next step, in milliseconds. Without this every step would
# start its own workers, which takes some seconds each time. Flink must wait longer before it starts a failed step
# again, or Beam would give the step the worker that has died, each time anew.
KEEP_WORKERS_MS = 3_000
# What Flink's own start scripts open to Flink on Java 17 (env.java.opts.all of Flink 1.19's config.yaml).
OPENS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
            "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
        )
    ),
)  # fmt: skip
LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
    "-Dorg.slf4j.simpleLogger.log.org.apache.flink.shaded.zookeeper3=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.pekko=error",
)


@dataclass(frozen=True)
class Size:
    """How large a cluster is.

    Attributes:
        task_managers: TaskManager processes.
        slots: tasks that a TaskManager runs at a time.
        heap_mib: Java's memory in a TaskManager for the records that it passes on, in MiB.
        managed_mib: memory of a TaskManager's sort buffers, in MiB; what they cannot hold goes to disk.
    """

    task_managers: int = 2
    slots: int = 1
    heap_mib: int = 384
    managed_mib: int = 256


@dataclass(frozen=True)
class Program:
    """One process of the cluster.

    Attributes:
        name: also the name of its log.
        command: the arguments, the program first.
        scratch: its own folder, which is emptied before each start; ``None``: it has none.
    """

    name: str
    command: tuple[str, ...]
    scratch: Path | None = None


@dataclass(frozen=True)
class Ports:
    """The ports that must stay the same when a process starts again."""

    zookeeper: int
    rest: int

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that no process of this machine listens on now."""
        sockets = [socket.socket() for _ in range(2)]
        try:
            for free in sockets:
                free.bind((HOST, 0))
            return cls(*(free.getsockname()[1] for free in sockets))
        finally:
            for free in sockets:
                free.close()


def flink_settings(size: Size, ports: Ports, folder: Path) -> dict[str, Any]:
    """Return the contents of Flink's config.yaml; the documentation of Flink explains each key."""
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.memory.process.size": "1g",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": ports.rest,
        "rest.bind-port": str(ports.rest),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": size.slots,
        # Started without Flink's scripts, a TaskManager needs each of its sizes.
        "taskmanager.cpu.cores": float(size.slots),
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.task.heap.size": f"{size.heap_mib}m",
        "taskmanager.memory.task.off-heap.size": "64m",
        "taskmanager.memory.network.min": "128m",
        "taskmanager.memory.network.max": "128m",
        "taskmanager.memory.managed.size": f"{size.managed_mib}m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        "parallelism.default": size.task_managers * size.slots,
        # Jobs bring no Java code of their own: all processes have the job server's class path.
        "classloader.resolve-order": "parent-first",
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{HOST}:{ports.zookeeper}",
        "high-availability.storageDir": f"file://{folder / 'recovery'}",
        # A ZooKeeper that starts again must not end the jobs.
        "high-availability.zookeeper.client.tolerate-suspended-connections": True,
        # How long a killed JobManager is still taken for the leader.
        "high-availability.zookeeper.client.session-timeout": 15_000,
        "zookeeper.sasl.disable": True,
        # A killed process is noticed when two heartbeats could not be sent to it, a frozen one after the time-out.
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": 30_000,
        # A result that was on a killed TaskManager is made again after about this time, in milliseconds.
        "taskmanager.network.request-backoff.max": 1_000,
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": f"{2 * KEEP_WORKERS_MS} ms",
        "slot.request.timeout": 120_000,  # milliseconds without a free slot after which a job fails
        "slot.idle.timeout": 10_000,
        "web.submit.enable": False,
    }


def programs(jar: Path, java: str, size: Size, ports: Ports, folder: Path) -> list[Program]:
    """Write the settings into a folder; return the programs in the order in which they start.

    Args:
        jar: the job server's, whose manifest has the class path of all programs.
        java: the Java launcher.
        size: of the cluster.
        ports: free ones.
        folder: absolute; an empty folder for all files but the logs.
    """
    (folder / "conf").mkdir()
    settings = json.dumps(flink_settings(size, ports, folder), indent=2)  # JSON is YAML
    (folder / "conf/config.yaml").write_text(settings + "\n", encoding="utf-8")
    zookeeper = {
        "dataDir": folder / "zookeeper",
        "clientPort": ports.zookeeper,
        "clientPortAddress": HOST,
        "admin.enableServer": "false",
        "maxClientCnxns": 0,
        "tickTime": 2_000,
    }
    (folder / "zookeeper.cfg").write_text("".join(f"{key}={value}\n" for key, value in zookeeper.items()), "utf-8")
    jar = jar.absolute()

    def program(name: str, heap_mib: int, main: str, *arguments: str, options: tuple[str, ...] = ()) -> Program:
        scratch = folder / "scratch" / name
        memory = (f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", f"-Djava.io.tmpdir={scratch}")
        command = (java, *memory, *options, *OPENS, *LOGGING, "-cp", str(jar), main, *arguments)
        return Program(name, command, scratch)

    conf = ("--configDir", str(folder / "conf"))
    shaded = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server"
    task_managers = []
    for number in range(1, size.task_managers + 1):
        name = f"taskmanager-{number}"
        heap, direct = 128 + size.heap_mib, 128 + 64 + 128
        task_managers.append(
            program(
                name, heap, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", *conf,
                f"-Dio.tmp.dirs={folder / 'scratch' / name}", f"-Dtaskmanager.resource-id={name}",
                options=(f"-XX:MaxDirectMemorySize={direct}m",),
            )
        )  # fmt: skip
    return [
        program(ZOOKEEPER, 128, f"{shaded}.ZooKeeperServerMain", str(folder / "zookeeper.cfg")),
        program(JOB_MANAGER, 448, "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint", *conf),
        *task_managers,
    ]


def environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of the programs: that of the command, without another Flink's settings."""
    return {name: value for name, value in inherited.items() if not name.startswith("FLINK_")}
