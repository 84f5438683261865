"""Tests of the phases: their data, their choice of pairs, and a run that is killed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from dckt_data import write_domain
from dckt_runs import domains, recipe

from base.console import UserError
from model.measures.retrieval import cosine_average_precision
from model.training.learner import Learner
from model.training.trainer import train
from systems.dckt.features import read_features
from systems.dckt.selection import probabilities, select
from systems.dckt.task import TransferTask, digest_of, prepared, training_run
from systems.dckt.trained import TargetModel

pytestmark = pytest.mark.usefixtures("own_folder")


def test_before_is_the_target_of_every_other_run() -> None:
    """The comparison of a run with `before` is that of its own start."""
    pairs = domains(Path("data"))
    for run in ("DCKT", "before", "media"):
        train(training_run(recipe(run), *pairs, 0, run), Path(run))
    assert (Path("before") / "target.safetensors").read_bytes() == (Path("DCKT") / "target.safetensors").read_bytes()
    assert (Path("media") / "target.safetensors").read_bytes() == (Path("DCKT") / "target.safetensors").read_bytes()
    assert {path.name for path in Path("before").glob("*.safetensors")} == {"target.safetensors"}
    full, media = (safetensors.torch.load_file(Path(run) / "transfer.safetensors") for run in ("DCKT", "media"))
    assert any(not torch.equal(value, media[name]) for name, value in full.items())


def test_the_transfer_starts_from_both_pretrainings() -> None:
    run = training_run(recipe(), *domains(Path("data")), 0, "run")
    source, target, transfer = run.tasks
    weights = {task.name: task.network(lambda name: {}).state_dict() for task in (source, target)}
    twins = transfer.network(weights.__getitem__).state_dict()
    for domain, expected in weights.items():
        for name, value in expected.items():
            assert torch.equal(twins[f"domains.{domain}.{name}"], value)
    assert transfer.starts_from == ("source", "target")


def test_fine_tuning_starts_from_the_source_except_for_the_categories() -> None:
    run = training_run(recipe("fine_tuned"), *domains(Path("data")), 0, "run")
    source, target = run.tasks
    assert target.starts_from == ("source",)
    new = source.network(lambda name: {}).state_dict()
    learned = {name: weight + 1 for name, weight in new.items()}  # as if trained
    started = target.network({"source": learned}.__getitem__).state_dict()
    for name, weight in started.items():
        assert torch.equal(weight, learned[name]) != name.startswith("fc10."), name
    assert len(started["fc10.bias"]) == len(run.description["domains"]["target"]["categories"])
    train(run, Path("model"))
    assert {path.name for path in Path("model").glob("*.safetensors")} == {"source.safetensors", "target.safetensors"}
    assert TargetModel(Path("model")).network.fc10.out_features == len(started["fc10.bias"])


def test_without_mmd_the_source_has_no_influence_on_the_target() -> None:
    """With all target pairs in each iteration, and the same number of steps, any source gives the same target."""
    pairs, found = domains(Path("data")), []
    for number, source in enumerate((pairs[0], pairs[0].texts_shuffled(3))):
        changed = recipe("no_mmd").model_copy(update={"selection": "all"})
        train(training_run(changed, source, pairs[1], 0, f"run-{number}"), Path(f"{number}"))
        found.append(safetensors.torch.load_file(Path(f"{number}") / "transfer.safetensors"))
    one, other = ({name: w for name, w in each.items() if name.startswith("domains.target.")} for each in found)
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name])
    assert not torch.equal(found[0]["domains.source.fc9.0.weight"], found[1]["domains.source.fc9.0.weight"])


def test_an_iteration_passes_over_the_source_as_often_as_asked() -> None:
    source, target = domains(Path("data"))
    one = recipe()
    assert one.transfer is not None
    twice = one.model_copy(update={"transfer": one.transfer.model_copy(update={"source_passes": 2})})
    pairs = {"source": source, "target": target}
    rows = len(source.subset("train"))
    assert [TransferTask(which, pairs, 0).epoch_rows for which in (one, twice)] == [rows, 2 * rows]
    assert TransferTask(one, pairs, 0).main == "source"


def chosen_by_hand(learner: Learner, task: TransferTask, iteration: int) -> list[int]:
    """The target rows of an iteration, from the source network's codes of all pairs at once."""
    network, pairs = task.of_domain(learner.network, "source"), task.pairs["target"]
    rows = np.flatnonzero(pairs.split == "train")
    network.eval()
    with torch.no_grad():
        codes = [
            network.image_codes(torch.from_numpy(pairs.images[rows])).numpy(),
            network.text_codes(torch.from_numpy(pairs.texts[rows])).numpy(),
        ]
    network.train()
    labels = pairs.category[rows]
    found = sum(cosine_average_precision(*order, labels, labels)[0] for order in (codes, codes[::-1]))
    return rows[select(probabilities(found, iteration, 0.5), 0, iteration, "progressive")].tolist()


def test_the_source_network_chooses_the_target_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = training_run(recipe(epochs=3), *domains(Path("data")), 0, "run")
    task = run.tasks[-1]
    assert isinstance(task, TransferTask)
    choose, compared = task.choose, []

    def checked(learner: Learner, epoch: int):
        found = choose(learner, epoch)
        assert found["target"].tolist() == chosen_by_hand(learner, task, epoch + 1)
        assert found["source"].tolist() == task.rows["source"].tolist()
        compared.append(found["target"].tolist())
        return found

    monkeypatch.setattr(task, "choose", checked)
    train(run, Path("model"))
    assert len(compared) == 3
    assert all(0 < len(rows) < len(task.rows["target"]) for rows in compared)
    assert compared[0] != compared[1]


@pytest.mark.parametrize(("run", "share"), [("all", 1.0), ("random", None)])
def test_other_choices(run: str, share: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, list[int]] = {}
    for name in (run, "DCKT"):
        training = training_run(recipe(name, epochs=2), *domains(Path("data")), 0, name)
        task, found = training.tasks[-1], counts.setdefault(name, [])
        choose = task.choose
        monkeypatch.setattr(
            task, "choose", lambda *given, choose=choose, found=found: (rows := choose(*given), found.append(rows))[0]
        )
        train(training, Path(name))
    first = {name: rows[0]["target"].tolist() for name, rows in counts.items()}
    if share is not None:
        assert len(first[run]) == len(training.tasks[-1].rows["target"])
    else:  # in the first iteration both have the same weights
        assert len(first["random"]) == len(first["DCKT"])
        assert first["random"] != first["DCKT"]


def test_a_run_that_is_killed_in_its_third_iteration_goes_on_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def training(name: str):
        return training_run(recipe(epochs=5), *domains(Path("data")), 0, name)

    train(training("whole"), Path("whole"))
    run, choices = training("killed"), []
    task = run.tasks[-1]
    step = task.step

    def killed(learner: Learner):
        if learner.epoch == 2 and learner.step % learner.steps_per_epoch == 1:
            raise KeyboardInterrupt
        return step(learner)

    monkeypatch.setattr(task, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(run, Path("killed"))
    run = training("killed")
    choose = run.tasks[-1].choose
    monkeypatch.setattr(
        run.tasks[-1], "choose", lambda learner, epoch: (choices.append(epoch), choose(learner, epoch))[1]
    )
    train(run, Path("killed"))
    assert choices == [2, 3, 4]  # the first two iterations were not trained again
    for name in ("source", "target", "transfer"):
        whole, killed_ = (Path(folder) / f"{name}.safetensors" for folder in ("whole", "killed"))
        assert whole.read_bytes() == killed_.read_bytes(), name
    curves = "curves/transfer/plots/metrics/train/target images.tsv"
    assert [line.split("\t")[-1] for line in (Path("whole") / curves).read_text().splitlines()] == [
        line.split("\t")[-1] for line in (Path("killed") / curves).read_text().splitlines()
    ]


def test_the_epoch_is_chosen_by_the_targets_validation() -> None:
    run = training_run(recipe(epochs=4), *domains(Path("data")), 0, "run")
    train(run, Path("model"))
    chosen = {phase["phase"]: phase for phase in json.loads((Path("model") / "run.json").read_text())["chosen"]}
    assert chosen["source"]["chosen_on"] == "source validation MAP"
    assert chosen["target"]["chosen_on"] == chosen["transfer"]["chosen_on"] == "target validation MAP"
    curve = Path("model/curves/transfer/plots/metrics/validation/target MAP.tsv").read_text().splitlines()[1:]
    values = [float(line.split("\t")[-1]) for line in curve]
    assert chosen["transfer"]["value"] == pytest.approx(max(values))
    assert chosen["transfer"]["epoch"] == values.index(max(values)) + 1
    # the saved weights are that epoch's
    validation = read_features(Path("data/target"), 0).subset("validation")
    model = TargetModel(Path("model"))
    images, texts = model.image_codes(validation.images), model.text_codes(validation.texts)
    ap = [
        cosine_average_precision(*codes, validation.category, validation.category)[0].mean()
        for codes in ((images, texts), (texts, images))
    ]
    assert 50 * sum(ap) == pytest.approx(max(values), abs=1e-4)


def test_what_runs_train_on() -> None:
    source, target = domains(Path("data"))
    full = prepared(recipe(), source, target, 0)
    assert full["source"] is source
    assert full["target"] is target
    assert prepared(recipe("no_shared"), source, target, 0)["source"].categories == ("cat", "dog")  # bee is Bee
    shuffled = prepared(recipe("texts_shuffled"), source, target, 0)
    assert (shuffled["source"].images == source.images).all()
    assert (shuffled["source"].texts != source.texts).any()
    assert shuffled["target"] is target
    few = prepared(recipe("DCKT_pairs=2"), source, target, 0)["target"]
    assert np.bincount(few.category[few.split == "train"]).tolist() == [2, 2, 2]


def test_a_source_that_shares_all_categories_is_an_error() -> None:
    source = read_features(write_domain(Path("s"), {"ant": 5, "bee": 5, "cat": 5}), 0)
    target = read_features(write_domain(Path("t"), {"Ant": 5, "bee": 5}), 0)
    with pytest.raises(UserError, match="run no_shared: the target has 2 of the source's 3 categories, and without"):
        prepared(recipe("no_shared"), source, target, 0)


@pytest.mark.parametrize("medium", ["images", "texts"])
def test_features_of_different_lengths_are_an_error_where_the_source_takes_part(medium: str) -> None:
    source, target = domains(Path("data"))
    longer = replace(source, **{medium: np.pad(getattr(source, medium), ((0, 0), (0, 1)))})
    for run in ("DCKT", "fine_tuned"):
        with pytest.raises(
            UserError, match=rf"run {run}: the source has \d {medium[:-1]} features and the target \d; the source's"
        ):
            prepared(recipe(run), longer, target, 0)
    prepared(recipe("before"), longer, target, 0)


def test_the_fingerprint_changes_with_the_data() -> None:
    source, target = domains(Path("data"))
    first = training_run(recipe(), source, target, 0, "run").fingerprint
    assert training_run(recipe(), source, target, 0, "run").fingerprint == first
    target.texts[3, 1] += 1
    assert training_run(recipe(), source, target, 0, "run").fingerprint != first
    assert digest_of(source) != digest_of(source.take(np.arange(3)))


def test_biases_have_a_rate_of_their_own_and_no_decay() -> None:
    task = training_run(recipe(), *domains(Path("data")), 0, "run").tasks[0]
    network = task.network(lambda name: {})
    [optimizer] = task.optimizers(network)
    groups = {group["part"]: group for group in optimizer.param_groups}
    assert groups["biases"]["peak"] == 2 * groups["weights"]["peak"] == 2 * 0.05
    assert groups["biases"]["weight_decay"] == 0 < groups["weights"]["weight_decay"]
    assert sum(len(group["params"]) for group in groups.values()) == len(list(network.parameters()))
