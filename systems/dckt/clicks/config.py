"""The parameters of the two-tower on a click log, and its runs.

| run | each pair of image and query counts |
|---|---|
| ``weighted`` | log(1 + clicks) |
| ``unweighted`` | 1 |
| ``shuffled`` | log(1 + clicks), but with images exchanged among each other before training: the control |
"""

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from base.params import Params
from model.training.params import TrainParams
from pipelines.words.word_vectors import TrainedVectorParams
from systems.dckt.baselines.config import EncoderParams

Run = Literal["weighted", "unweighted", "shuffled"]
RUNS: tuple[Run, ...] = get_args(Run)
PHASE = "towers"  # the one phase of a training
TRAIN, VALIDATION, TEST = "train", "validation", "test"
KNOWN = {"seen": TRAIN, "new": TEST}  # of a query or an image: the split that it is in
CELLS = tuple((query, image) for query in KNOWN for image in KNOWN)
NDCG, MAP = MEASURES = ("ndcg", "map")


def metric_of(measure: str, query: str, image: str) -> str:
    """Return the name of a metric, as in ``ndcg_new_seen``: new queries, seen images."""
    return f"{measure}_{query}_{image}"


class QueryShares(Params):
    """Queries that the training doesn't see, by a stable hash of their text: equal for all seeds."""

    validation: float = Field(description="share of the queries", gt=0, lt=1)
    test: float = Field(description="share of the queries", gt=0, lt=1)

    @model_validator(mode="after")
    def _leave_some(self) -> "QueryShares":
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave no query to train on")
        return self


class QueriesParams(Params):
    """The features of queries, and their split."""

    features: Literal["vectors", "bag"] = Field(
        description="vectors: the mean of the words' vectors; bag: a share for each known word (dense, so not for "
        "millions of queries)"
    )
    word_vectors: str | None = Field(
        description="vectors: a file of them (word2vec, GloVe or Parquet); null: trained on the training queries"
    )
    trained: TrainedVectorParams
    most_words: int = Field(description="bag: number of words, those of most training queries", ge=1)
    shares: QueryShares


class ClickTrainParams(Params):
    """The two towers and their training."""

    encoders: EncoderParams
    start_factor: float = Field(description="on the cosines, at the start; it is learned", gt=0)
    train: TrainParams


class ClickEvaluateParams(Params):
    """What is measured, also for the choice of the epoch."""

    k: int = Field(description="ranks of nDCG@k", ge=1)
    most_queries: int = Field(description="queries of a cell at most; more are drawn from", ge=2)


class ClicksParams(Params):
    """The two-tower on a click log."""

    data_set: str = Field(description="one of data_sets")
    runs: list[Run] = Field(description="the trainings, one per seed each; docs: systems/dckt/clicks/config.py")
    queries: QueriesParams
    train: ClickTrainParams
    evaluate: ClickEvaluateParams

    @field_validator("runs")
    @classmethod
    def _once(cls, runs: list[Run]) -> list[Run]:
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs
