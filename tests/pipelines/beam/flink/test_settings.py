import json
import socket
from pathlib import Path

from pipelines.beam.flink.settings import KEEP_WORKERS_MS, Ports, Size, environment, flink_settings, programs


def test_ports_are_free_and_different() -> None:
    ports = Ports.free()
    assert ports.zookeeper != ports.rest
    for port in (ports.zookeeper, ports.rest):
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


def test_all_addresses_are_those_of_this_machine(tmp_path: Path) -> None:
    settings = flink_settings(Size(), Ports(3, 4), tmp_path)
    addresses = {key: value for key, value in settings.items() if key.endswith(("address", "host"))}
    assert len(addresses) == 6
    assert set(addresses.values()) == {"127.0.0.1"}
    assert settings["high-availability.zookeeper.quorum"] == "127.0.0.1:3"
    assert settings["rest.port"] == 4


def test_a_failed_step_starts_again_only_after_its_workers_have_gone(tmp_path: Path) -> None:
    delay = flink_settings(Size(), Ports(3, 4), tmp_path)["restart-strategy.fixed-delay.delay"]
    assert int(delay.removesuffix(" ms")) >= KEEP_WORKERS_MS + 1_000


def test_every_program_has_its_name_and_files(tmp_path: Path) -> None:
    found = programs(Path("a jar"), "java", Size(task_managers=3, slots=5, heap_mib=700), Ports(3, 4), tmp_path)
    names = ["zookeeper", "jobmanager", "taskmanager-1", "taskmanager-2", "taskmanager-3"]
    assert [program.name for program in found] == names
    assert len({program.scratch for program in found}) == len(names)
    settings = json.loads((tmp_path / "conf/config.yaml").read_text())
    assert settings["parallelism.default"] == 15
    assert settings["taskmanager.memory.task.heap.size"] == "700m"
    assert "clientPortAddress=127.0.0.1\n" in (tmp_path / "zookeeper.cfg").read_text()
    for program in found:
        assert program.command[0] == "java"
        assert program.command[program.command.index("-cp") + 1] == str(Path("a jar").absolute())
    assert "-Xmx828m" in found[2].command  # with the 128 MiB of the framework
    assert "-Dtaskmanager.resource-id=taskmanager-1" in found[2].command


def test_settings_of_another_flink_are_not_inherited() -> None:
    inherited = {"FLINK_CONF_DIR": "/etc/flink", "FLINK_PROPERTIES": "x", "PATH": "/bin"}
    assert environment(inherited) == {"PATH": "/bin"}
