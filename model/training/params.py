"""Training parameters of a phase, independent of its task."""

from typing import Literal

from pydantic import Field, model_validator

from base.params import Params


class ScheduleParams(Params):
    """The learning-rate schedule of a phase; model/training/schedules.py has the formulas."""

    kind: Literal["constant", "one-cycle", "cosine", "step", "plateau", "inv"] = Field(
        description="the curve after the warm-up; plateau also ends the phase, so `epochs` is only its cap"
    )
    warm_up: float = Field(description="share of the steps in which the rate rises; 0: no warm-up", ge=0, lt=1)
    drop_every: float | None = Field(None, description="step: share of the steps from drop to drop", gt=0, le=1)
    drop_factor: float | None = Field(None, description="step, plateau: factor on the rate at each drop", gt=0, lt=1)
    patience: int | None = Field(
        None, description="plateau: epochs without a better validation after which the rate drops", ge=1
    )
    drops: int | None = Field(None, description="plateau: number of drops; the next plateau ends the phase", ge=0)
    gamma: float | None = Field(None, description="inv: growth of the rate's divisor in a step", gt=0)
    power: float | None = Field(None, description="inv: exponent of the rate's divisor", gt=0)

    @model_validator(mode="after")
    def _complete(self) -> "ScheduleParams":
        of_kinds = ["drop_every", "drop_factor", "patience", "drops", "gamma", "power"]
        given = [name for name in of_kinds if getattr(self, name) is not None]
        used = {
            "step": ["drop_every", "drop_factor"],
            "plateau": ["drop_factor", "patience", "drops"],
            "inv": ["gamma", "power"],
        }.get(self.kind, [])
        if given != used:
            missing = [name for name in used if name not in given]
            surplus = [name for name in given if name not in used]
            raise ValueError(f"kind {self.kind} takes {['warm_up', *used]}; missing {missing}, not used {surplus}")
        return self


class TrainParams(Params):
    """Parameters of training a phase by stochastic gradient descent; a system adds its own parameters."""

    epochs: int = Field(description="per phase, at most; one epoch passes once through the phase's main stream", ge=1)
    batch_size: int = Field(description="draws of each stream in a step, over all processes", ge=2)
    accumulation: int = Field(description="number of parts of a step, run one after another to save memory", ge=1)
    learning_rate: float = Field(description="peak rate of the ConvNet", gt=0)
    momentum: float = Field(ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(ge=0, description="alpha of eq. 6 of the MTMDD-VM paper")
    weight_decay_on_biases: bool = Field(
        True, description="false: no bias decays, nor a shift of batch normalisation (Caffe's decay_mult: 0)"
    )
    schedule: ScheduleParams
    ema: float | None = Field(
        None, description="decay of the moving average of the weights that is validated and saved; null: no average",
        gt=0, lt=1,
    )  # fmt: skip
    early_stopping: int | None = Field(
        None, description="epochs without a better validation after which a phase ends; null: never", ge=1
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(description="no is bit-identical from run to run on a CPU")
    compile: bool = Field(
        description="torch.compile: slow to start, then faster; dropout drops other units; a CPU needs g++ or $CXX"
    )
    channels_last: bool = Field(description="channels innermost: faster on a CPU, and on a GPU in mixed precision")
    workers: int = Field(description="processes that load images; 0: a thread of the training process loads", ge=0)
    threads: int | None = Field(
        None, description="CPU threads of a training process; null: torch's default for the machine", ge=1
    )
    cache_images: bool = Field(description="keep the decoded, resized images in memory")
    groups: int | None = Field(
        None,
        description="groups of the rows of a stream from which each step draws equally, so that each process reads "
        "groups of its own; a divisor of batch_size, a multiple of the number of processes; null: all rows are one "
        "group, which every process reads",
        ge=1,
    )

    @property
    def stop_rule(self) -> tuple[str, str] | None:
        """The setting that ends a phase by its validation, and how to switch it off; None: all epochs are trained."""
        if self.schedule.kind == "plateau":
            return "train.schedule.kind = plateau", "choose another kind"
        if self.early_stopping is not None:
            return f"train.early_stopping = {self.early_stopping}", "set it to null"
        return None

    @model_validator(mode="after")
    def _one_stop_rule(self) -> "TrainParams":
        if self.schedule.kind == "plateau" and self.early_stopping is not None:
            raise ValueError(
                f"schedule.kind plateau ends a phase by itself, so early_stopping must be null, not"
                f" {self.early_stopping}"
            )
        return self

    @model_validator(mode="after")
    def _groups_share_steps(self) -> "TrainParams":
        if self.groups is not None and self.batch_size % self.groups:
            raise ValueError(
                f"groups = {self.groups}: a step draws equally from each group, so batch_size must be a multiple of it,"
                f" not {self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _parts_have_statistics(self) -> "TrainParams":
        if self.batch_size < 2 * self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} in accumulation = {self.accumulation} parts gives parts of fewer than "
                "2 draws of a stream, too few for batch normalisation; raise batch_size or lower accumulation"
            )
        return self
