"""The deployments of deployments.yaml, checked: each is a flow with parameters and, optionally, schedules.

    - name: nightly
      flow: reproduce
      parameters: {targets: [report], cpu_slots: 2}
      schedules:
        - {cron: "0 2 * * *", timezone: Europe/Berlin, active: true}
        - {interval_s: 3600, active: false}

Every study of the graph also gets a deployment of the sweep flow, which has the study's name. Its form in the page
offers the runs and seeds that the study declares.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from prefect.utilities.callables import ParameterSchema
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from base.console import UserError
from flows.daily import daily
from flows.reproduce import reproduce
from flows.studies import Study, narrow_schema
from flows.sweeps import sweep

DEFAULT_PATH = Path("deployments.yaml")
FLOWS: Mapping[str, Flow[..., Any]] = {"reproduce": reproduce, "sweep": sweep, "daily": daily}


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone; expected a name such as Europe/Berlin or UTC")
    return name


def _flow(name: str) -> str:
    if name not in FLOWS:
        raise ValueError(f"no such flow; the flows are {', '.join(FLOWS)}")
    return name


class Schedule(BaseModel):
    """A schedule of a deployment: a cron line, or an interval in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    cron: str | None = Field(None, description="minute, hour, day, month, weekday, as in 0 2 * * *")
    interval_s: float | None = Field(None, ge=1, allow_inf_nan=False, description="seconds between two runs")
    timezone: Annotated[str, AfterValidator(_time_zone)] = Field("UTC", description="time zone of the cron line")
    active: bool = Field(False, description="whether the schedule is on")

    @model_validator(mode="after")
    def _is_one(self) -> "Schedule":
        if (self.cron is None) == (self.interval_s is None):
            raise ValueError("give exactly one of cron and interval_s")
        self.for_prefect()  # checks the cron line
        return self

    def for_prefect(self) -> DeploymentScheduleCreate:
        """Return the schedule as Prefect's object."""
        schedule: CronSchedule | IntervalSchedule
        if self.cron is not None:
            schedule = CronSchedule(cron=self.cron, timezone=self.timezone)
        else:
            schedule = IntervalSchedule(interval=timedelta(seconds=self.interval_s or 0))
        return DeploymentScheduleCreate(schedule=schedule, active=self.active)


class Deployment(BaseModel):
    """A flow with parameters that the page offers under a name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="shown in the page after the flow's name")
    flow: Annotated[str, AfterValidator(_flow)] = Field(description="reproduce, sweep or daily")
    description: str = Field("", description="shown in the page")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the flow; others keep their defaults")
    schedules: list[Schedule] = Field(default_factory=list)

    @model_validator(mode="after")
    def _parameters_fit(self) -> "Deployment":
        flow = FLOWS[self.flow]
        known = flow.parameters.properties
        for name in self.parameters:
            if name not in known:
                raise ValueError(f"flow {self.flow} has no parameter {name!r}; it has {', '.join(known)}")
        needed = [name for name in flow.parameters.required if name not in self.parameters]
        if needed and any(schedule.active for schedule in self.schedules):
            raise ValueError(f"flow {self.flow} can't run on a schedule without the parameter {', '.join(needed)}")
        placeholders = dict.fromkeys(needed, "")
        try:
            flow.validate_parameters({**placeholders, **self.parameters})
        except (ParameterTypeError, SignatureMismatchError) as error:
            raise ValueError(" ".join(str(error).split())) from None  # on one line
        return self

    def for_prefect(self) -> RunnerDeployment:
        """Return the deployment as Prefect's object."""
        return RunnerDeployment.from_flow(
            FLOWS[self.flow],
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            schedules=[schedule.for_prefect() for schedule in self.schedules],
            paused=False,  # an earlier `serve` paused the deployment when it ended
        )


def read_deployments(path: Path = DEFAULT_PATH) -> list[Deployment]:
    """Read deployments.yaml.

    Raises:
        UserError: the file is missing, is not YAML, or has invalid content; the message has one line per mistake.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the repository root or give one with --deployments") from None
    except YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    try:
        deployments = TypeAdapter(list[Deployment]).validate_python(content or [])
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            known = "" if problem["type"] != "extra_forbidden" else f"; known: {_known_keys(problem['loc'])}"
            lines.append(f"{path}: {key} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}{known}")
        raise UserError("\n".join(lines)) from None
    names = [(deployment.flow, deployment.name) for deployment in deployments]
    for flow, name in names:
        if names.count((flow, name)) > 1:
            raise UserError(f"{path}: flow {flow} has two deployments named {name}")
    return deployments


def _known_keys(location: Sequence[int | str]) -> str:
    return ", ".join((Schedule if "schedules" in location else Deployment).model_fields)


def of_studies(studies: Mapping[str, Study], taken: Sequence[Deployment] = ()) -> list[RunnerDeployment]:
    """Return one deployment of the sweep flow per study; omit the studies whose names are taken."""
    names = {deployment.name for deployment in taken if deployment.flow == "sweep"}
    deployments = []
    for name, study in studies.items():
        if name not in names:
            deployment = RunnerDeployment.from_flow(
                sweep, name=name, description=f"The study {name} of dvc.yaml.", parameters={"study": name}, paused=False
            )
            schema = deployment._parameter_openapi_schema
            deployment._parameter_openapi_schema = ParameterSchema(
                **{**schema.model_dump(), "properties": narrow_schema(schema.properties, study)}
            )
            deployments.append(deployment)
    return deployments
