"""How a phase is trained, whatever it learns."""

from typing import Literal

from pydantic import Field, model_validator

from base.params import Params


class ScheduleParams(Params):
    """How the learning rates move over a phase; see model/training/schedules.py for the formulas."""

    kind: Literal["constant", "one-cycle", "cosine", "step"] = Field(description="the curve after the warm-up")
    warm_up: float = Field(description="share of the steps spent rising; 0: none", ge=0, lt=1)
    drop_every: float | None = Field(None, description="step: drop after each such share of the steps", gt=0, le=1)
    drop_factor: float | None = Field(None, description="step: what the rate is multiplied by", gt=0, lt=1)

    @model_validator(mode="after")
    def _complete(self) -> "ScheduleParams":
        drops = ["drop_every", "drop_factor"]
        given = [name for name in drops if getattr(self, name) is not None]
        used = drops if self.kind == "step" else []
        if given != used:
            missing = [name for name in used if name not in given]
            surplus = [name for name in given if name not in used]
            raise ValueError(f"kind {self.kind} takes {['warm_up', *used]}; missing {missing}, not used {surplus}")
        return self


class TrainParams(Params):
    """How a phase is trained by stochastic gradient descent; a system adds what is its own."""

    epochs: int = Field(description="per phase; one epoch passes once through the phase's main stream", ge=1)
    batch_size: int = Field(description="draws of each stream in a step, over all processes", ge=2)
    accumulation: int = Field(description="parts a step's draws are run in, one after another, to save memory", ge=1)
    learning_rate: float = Field(description="peak, of the ConvNet", gt=0)
    momentum: float = Field(ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(ge=0, description="alpha of eq. 6 of the MTMDD-VM paper")
    schedule: ScheduleParams
    ema: float | None = Field(
        None, description="decay of the moving average of the weights that is then validated and saved; null: none",
        gt=0, lt=1,
    )  # fmt: skip
    early_stopping: int | None = Field(
        None, description="a phase ends after so many epochs without a better validation; null: it has all", ge=1
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(description="no is bit-identical from run to run on a CPU")
    compile: bool = Field(description="torch.compile: slow to start, then faster on a GPU; drops other units")
    channels_last: bool = Field(description="channels innermost: faster on a CPU, and on a GPU in mixed precision")
    workers: int = Field(description="processes that load images; 0: a thread of the training process does", ge=0)
    threads: int | None = Field(
        None, description="CPU threads of a training process; null: as many as the machine has", ge=1
    )
    cache_images: bool = Field(description="keep the decoded, resized images in memory")

    @model_validator(mode="after")
    def _parts_have_statistics(self) -> "TrainParams":
        if self.batch_size < 2 * self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} in accumulation = {self.accumulation} parts leaves parts of fewer than "
                "2 draws of a stream: too few for batch normalisation"
            )
        return self
