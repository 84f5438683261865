"""Writes the model card of an export and its results in the formats of the Hugging Face Hub, from evaluations alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.repocard_data import EvalResult
from huggingface_hub.utils import yaml_dump

from base.artifacts import whole_file
from base.console import UserError
from base.markdown import cell
from model.measures.evaluations import METRICS_FILE, read_evaluations
from report.intervals import accuracy_interval, estimate, unit_values
from report.pages import NOTHING, Column, Table, as_markdown, interval, number

TITLES = {
    "mtmdd": "recogniser that also predicts the words of clicks",
    "siamese": "recogniser, fine-tuned on pairs of pictures",
    "annotation": "annotates pictures with labels",
    "tagging": "recommends tags for a picture and a user",
}
PAPERS = {
    "mtmdd": "Tan, Yu, Zhang, Rui, Tao: Image Recognition by Predicted User Click Feature with Multidomain Multitask "
    "Transfer Deep Network. IEEE TIP 2019",
    "siamese": "Siamese fine-tuning on click-log images: systems/siamese/README.md in Clicksight has the paper",
    "annotation": "Multi-scale annotation with tags: systems/annotation/README.md in Clicksight has the paper",
    "tagging": "Quintanilla et al.: Adversarial Learning for Personalized Tag Recommendation. IEEE TMM 2020",
}
TASKS = {"mtmdd": "image-classification", "siamese": "image-classification"}
OTHER_TASK = "image-feature-extraction"
PERCENT = 100.0


@dataclass(frozen=True)
class CardOptions:
    """What only the user knows.

    Attributes:
        license: of the weights; None: the card says that none is stated.
        data: a sentence about the training data.
        benchmark: ``DATASET:TASK`` on the Hub; None: no ``.eval_results``.
    """

    license: str | None = None
    data: str | None = None
    benchmark: str | None = None


@dataclass(frozen=True)
class Metric:
    """A metric over seeds with its 95 % interval.

    Attributes:
        name: as in metrics.json.
        unit: "%" or none.
        mean, low, high: in this unit.
        num_units: number of images, words or categories that were measured.
    """

    name: str
    unit: str
    mean: float
    low: float
    high: float
    num_units: int


@dataclass(frozen=True)
class Evaluated:
    """The evaluations of a run.

    Attributes:
        seeds: that were evaluated.
        metrics: by name.
        contents: of metrics.json, by seed.
    """

    seeds: list[int]
    metrics: list[Metric]
    contents: dict[int, dict[str, Any]]


def read_evaluated(folder: Path) -> Evaluated:
    """Read all evaluations of a run; intervals as in the reports (`report.intervals`).

    Raises:
        UserError: there is no evaluation, a file is missing, or a metric is not that of its units.
    """
    seeds = sorted(
        int(name) for path in folder.glob(f"seed-*/{METRICS_FILE}") if (name := path.parent.name[5:]).isdecimal()
    )
    if not seeds:
        raise UserError(f"{folder}: no seed-N/{METRICS_FILE} here; name a run's folder of evaluations")
    found = read_evaluations({folder.name: folder}, seeds, str(folder), PERCENT, tolerance=1e-3)
    contents = {seed: found.metrics[folder.name, seed] for seed in seeds}
    metrics = []
    for name in found.units["metric"].unique(maintain_order=True).sort():
        stated = contents[seeds[0]].get(name)
        if not isinstance(stated, int | float):
            continue  # an intermediate value
        units = found.units.filter(metric=name)
        values = unit_values(units)
        if values["unit"].n_unique() < 2:
            continue
        is_share = values["value"].is_in([0.0, 1.0]).all()
        low_high = accuracy_interval(values) if is_share else estimate(values).interval()
        mean, low, high = (PERCENT * value for value in low_high)
        metrics.append(Metric(name, "%", mean, low, high, values["unit"].n_unique()))
    return Evaluated(seeds, metrics, contents)


def check_evaluated(evaluated: Evaluated, run: Mapping[str, Any], model: Path) -> None:
    """Check that evaluations are of the exported run, as far as they repeat what chose its epochs.

    Args:
        evaluated: the evaluations.
        run: content of the model folder's run.json.
        model: the model folder, for messages.

    Raises:
        UserError: the model's seed was not evaluated, or the evaluation of this seed has other chosen epochs.
    """
    seed = run.get("seed")
    if seed not in evaluated.contents:
        raise UserError(
            f"{model}: seed {seed} is not among the evaluated seeds {evaluated.seeds}; name its evaluations"
        )
    stated = evaluated.contents[seed].get("chosen") or {}
    for one in run.get("chosen", []):
        other = stated.get(one["phase"])
        if other is not None and (other.get("epoch"), other.get("value")) != (one["epoch"], one["value"]):
            raise UserError(
                f"{model}: phase {one['phase']} was kept at epoch {one['epoch']} ({one['value']}), but the evaluation "
                f"is of a model kept at epoch {other.get('epoch')} ({other.get('value')}); name this run's evaluations"
            )


def metrics_table(metrics: list[Metric]) -> str:
    """Return the metrics in Markdown."""
    columns = [Column("metric", number=False), Column("mean"), Column("95 % interval"), Column("measured units")]
    rows = [
        [one.name, f"{number(one.mean)} {one.unit}", interval(one.low, one.high), f"{one.num_units:,}"]
        for one in metrics
    ]
    return as_markdown(Table(columns, rows))


def training_table(run: Mapping[str, Any]) -> str:
    """Return the phases in Markdown: the chosen epoch, what chose it, and the number of images seen."""
    columns = [Column("phase", number=False), Column("chosen epoch"), Column("chosen on", number=False)]
    columns += [Column("value"), Column("draws seen", number=False)]
    rows = []
    for one in run.get("chosen", []):
        value = NOTHING if one.get("value") is None else number(one["value"])
        seen = ", ".join(f"{stream}: {count:,}" for stream, count in one.get("seen", {}).items())
        rows.append([one["phase"], f"{one['epoch']} of {one['of']}", one["chosen_on"], value, seen])
    return as_markdown(Table(columns, rows))


def notes_of(metric: Metric, seeds: list[int]) -> str:
    """Return what the formats have no field for: the interval, seeds and units."""
    several = f"mean of the seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]} alone"
    covers = "trainings and units" if len(seeds) > 1 else "the choice of units, not the training"
    return (
        f"{metric.name}: {several}; 95 % interval {interval(metric.low, metric.high)}, over {covers}; "
        f"{metric.num_units} units"
    )


def card_data(config: Mapping[str, Any], evaluated: Evaluated | None, options: CardOptions) -> ModelCardData:
    """Return the card's front matter."""
    system, run = config["system"], config["run"]
    task = TASKS.get(system, OTHER_TASK)
    results = None
    if evaluated is not None:
        results = [
            EvalResult(
                task_type=task,
                dataset_type="clicksight",
                dataset_name=options.data or "the data set of the run",
                metric_type=one.name,
                metric_value=round(one.mean, 2),
                metric_name=notes_of(one, evaluated.seeds),
            )
            for one in evaluated.metrics
        ]
    return ModelCardData(
        model_name=f"{system} {run}" if results else None,
        license=options.license,
        library_name="clicksight",
        pipeline_tag=task,
        tags=["clicksight", system],
        eval_results=results or None,
    )


def card_text(
    config: Mapping[str, Any], run: Mapping[str, Any], evaluated: Evaluated | None, options: CardOptions
) -> str:
    """Return the card's text, which follows the front matter."""
    system = config["system"]
    parts = [f"# {cell(config['run'])}: {TITLES.get(system, system)}"]
    described = [f"- {name}: {', '.join(_shown(one['names']))}" for name, one in config["outputs"].items()]
    parts.append(
        "\n".join([f"A model of Clicksight's system `{system}`, seed {config['seed']}. It returns:\n", *described])
    )
    parts.append("## How to use\n\n```python\nimport clicksight\nmodel = clicksight.load_model(\"THIS FOLDER\")\n"
        "print(next(clicksight.predict(model, [\"picture.jpg\"])))\n```\n\n"
        "`model.onnx` and `model.pt2`, where they are present, need no Clicksight. "
        f"Before them, {config['preprocessing']['outside']}. Inside, {config['preprocessing']['inside']}.")  # fmt: skip
    data = options.data or "The card's author has not described the data."
    images = run.get("images")
    counted = f" Images: `{images}`." if images else ""
    parts.append(f"## Data\n\n{cell(data)}{counted}")
    parts.append(f"## Training\n\n{training_table(run)}")
    if evaluated is None:
        parts.append("## Evaluation\n\nThis export was made without an evaluation, so no metric is known.")
    else:
        seeds = evaluated.seeds
        over = (
            f"Means over {len(seeds)} trainings (seeds {', '.join(map(str, seeds))}) of the same run; intervals cover "
            "trainings and measured units. The weights are those of one of them."
            if len(seeds) > 1
            else "One training; its interval covers the choice of measured units and not the randomness of training."
        )
        parts.append(f"## Evaluation\n\n{over}\n\n{metrics_table(evaluated.metrics)}")
    limits = [
        "It knows the names above and no others: a picture of something else gets one of them all the same.",
        "The metrics hold for pictures like those of its test split.",
        "Predicted words are those that people clicked for in one log, with its language and its biases.",
    ]
    parts.append(
        "## Limits\n\n" + "\n".join(f"- {one}" for one in limits[: 3 if "click_feature" in config["outputs"] else 2])
    )
    parts.append(f"## License\n\n{cell(options.license) if options.license else 'None is stated.'}")
    parts.append(f"## Reference\n\n{PAPERS.get(system, 'See the README of the system in Clicksight.')}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _shown(names: list[str], most: int = 12) -> list[str]:
    """Return the first names for a sentence; no names: one number."""
    if not names:
        return ["one number for a picture"]
    more = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return [cell(name) for name in names[:most]] + more


def write_card(
    folder: Path,
    config: Mapping[str, Any],
    run: Mapping[str, Any],
    evaluated: Evaluated | None,
    options: CardOptions,
) -> None:
    """Write ``README.md``, and ``.eval_results/clicksight.yaml`` if a benchmark is named.

    Args:
        folder: where to write.
        config: of the export.
        run: content of run.json.
        evaluated: what was measured; None: nothing.
        options: what no file knows.

    Raises:
        UserError: a benchmark is named without evaluations, or isn't DATASET:TASK.
    """
    if options.benchmark is not None:
        dataset, separator, task = options.benchmark.partition(":")
        if evaluated is None or not (dataset and separator and task):
            raise UserError(f"--benchmark {options.benchmark}: needs DATASET:TASK, and --evaluations")
        entries = [
            EvalResultEntry(
                dataset_id=dataset, task_id=task, value=round(one.mean, 2), notes=notes_of(one, evaluated.seeds)
            )
            for one in evaluated.metrics
        ]
        (folder / ".eval_results").mkdir()
        with whole_file(folder / ".eval_results" / "clicksight.yaml") as temporary:
            temporary.write_text(yaml_dump(eval_result_entries_to_yaml(entries)), encoding="utf-8")
    front = card_data(config, evaluated, options).to_yaml()
    with whole_file(folder / "README.md") as temporary:
        temporary.write_text(f"---\n{front}\n---\n\n{card_text(config, run, evaluated, options)}", encoding="utf-8")
