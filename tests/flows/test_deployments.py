from datetime import timedelta
from pathlib import Path

import pytest
from served import write_project

from base.console import UserError
from flows.deployments import FLOWS, of_studies, read_deployments
from flows.stages import Workspace
from flows.studies import studies

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str) -> list:
    (folder / "deployments.yaml").write_text(text)
    return read_deployments(folder / "deployments.yaml")


def test_the_projects_own_file_is_good_and_nothing_runs_by_itself() -> None:
    deployments = read_deployments(ROOT / "deployments.yaml")
    assert {deployment.flow for deployment in deployments} >= {"reproduce", "daily"}
    assert not any(schedule.active for deployment in deployments for schedule in deployment.schedules)


def test_a_schedule_reaches_prefect_as_it_is_written(tmp_path: Path) -> None:
    (deployment,) = read(
        tmp_path,
        "- name: nightly\n  flow: reproduce\n  parameters: {targets: [train], cpu_slots: 2}\n  schedules:\n"
        "    - {cron: '30 2 * * 1', timezone: Asia/Shanghai, active: true}\n    - {interval_s: 90}\n",
    )
    made = deployment.for_prefect()
    assert (made.flow_name, made.name, made.paused) == ("reproduce", "nightly", False)
    assert made.parameters == {"targets": ["train"], "cpu_slots": 2}
    cron, interval = made.schedules
    assert (cron.schedule.cron, cron.schedule.timezone, cron.active) == ("30 2 * * 1", "Asia/Shanghai", True)
    assert (interval.schedule.interval, interval.active) == (timedelta(seconds=90), False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {flow: reproduce}", r"0\.name = .*: Field required"),
        ("- {name: a b, flow: reproduce}", r"0\.name = 'a b': String should match pattern"),
        ("- {name: a, flow: produce}", r"0\.flow = 'produce': no such flow; the flows are reproduce, sweep, daily"),
        ("- {name: a, flow: reproduce, when: now}", r"0\.when = 'now': .*; known: name, flow"),
        ("- {name: a, flow: reproduce, parameters: {target: [x]}}", r"no parameter .target.; it has targets"),
        ("- {name: a, flow: reproduce, parameters: {cpu_slots: 0}}", r"parameters: - cpu_slots: .*than or equal to 1"),
        ("- {name: a, flow: sweep, schedules: [{interval_s: 9, active: true}]}", r"on a schedule without .* study"),
        ("- {name: a, flow: daily, schedules: [{}]}", r"0\.schedules\.0 = .*: give exactly one of cron and interval_s"),
        ("- {name: a, flow: daily, schedules: [{cron: 0 2 * * *, interval_s: 5}]}", r"give exactly one of cron and"),
        ("- {name: a, flow: daily, schedules: [{cron: 0 25 * * *}]}", r"0\.schedules\.0.*[Ii]nvalid cron"),
        ("- {name: a, flow: daily, schedules: [{interval_s: 0}]}", r"interval_s = 0: .*greater than or equal to 1"),
        ("- {name: a, flow: daily, schedules: [{cron: 0 2 * * *, timezone: Mars}]}", r"no such time zone"),
        ("- {name: a, flow: daily, schedules: [{cron: 0 2 * * *, on: 1}]}", r"0\.on = 1: .*; known: cron, interval_s"),
        ("- {name: a, flow: daily}\n- {name: a, flow: daily}", r"flow daily has two deployments named a"),
        ("a: 1", r"Input should be a valid list"),
        ("- [", r"deployments\.yaml: not YAML"),
    ],
)  # fmt: skip
def test_mistakes_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_each_study_gets_a_deployment_unless_the_file_has_one(project: Path) -> None:
    known = studies(Workspace(write_project(project)).matrices())
    (made,) = of_studies(known)
    assert (made.flow_name, made.name, made.parameters) == ("sweep", "shapes", {"study": "shapes"})
    offered = made._parameter_openapi_schema.properties
    assert offered["study"]["enum"] == ["shapes"]
    assert offered["runs"]["items"] == {"type": "string", "enum": ["round-3", "round-4", "flat-3", "flat-4"]}
    assert offered["seeds"]["items"] == {"type": "integer", "enum": [7]}
    assert "enum" not in FLOWS["sweep"].parameters.properties["study"]  # the flow's own schema is unchanged
    listed = read(project, "- {name: shapes, flow: sweep, parameters: {study: shapes}}")
    assert of_studies(known, listed) == []
