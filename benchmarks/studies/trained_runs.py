"""What studies of trained runs of mtmdd share: their options, and where these lead."""

import argparse
from pathlib import Path
from typing import NamedTuple

from clicksight.models import load_model
from model.prediction import Predictor
from pipelines.words.segmentation import Segmenter, SegmentParams


def segment_params(lemmas: str | None = None) -> SegmentParams:
    """Return the segmentation of a data set without lists of its own."""
    plain = {"stop_words": None, "dictionary": None, "user_dictionary": None, "minimum_length": 1}
    return SegmentParams.model_validate({**plain, "lemmas": lemmas})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name runs and their data set."""
    parser.add_argument("--data", type=Path, required=True, help="a project's data folder")
    parser.add_argument("--set", required=True, help="the data set")
    parser.add_argument("--models", type=Path, help="the runs' folder (default: mtmdd/models of --data)")
    parser.add_argument("--runs", nargs="+", required=True, help="runs with a click branch that recognise the target")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="(default: 0 to 4)")
    parser.add_argument("--lemmas", help="as in the data set's `segment.lemmas`")


class TrainedRuns(NamedTuple):
    """Runs that a study looks at.

    Attributes:
        names: of the runs.
        seeds: of each run.
        folder: of the runs' folders.
        data: the data set.
        segmenter: finds the words of queries as those of the log's were found.
    """

    names: list[str]
    seeds: list[int]
    folder: Path
    data: Path
    segmenter: Segmenter

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "TrainedRuns":
        """Return the runs that parsed options name."""
        folder = arguments.models or arguments.data / "mtmdd/models"
        segmenter = Segmenter(segment_params(arguments.lemmas))
        return cls(arguments.runs, arguments.seeds, folder, arguments.data / "sets" / arguments.set, segmenter)

    def models(self, name: str) -> list[Predictor]:
        """Return the model of each seed of a run."""
        return [load_model(self.folder / name / f"seed-{seed}") for seed in self.seeds]
