import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from base.console import UserError
from model.data.batches import Loaded, share_of
from model.training.learner import Learner, check_parts, num_steps_per_epoch
from model.training.params import ScheduleParams
from model.training.trainer import start_accelerator
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import Fewer, TrainParams
from systems.mtmdd.examples import Examples, read_rows
from systems.mtmdd.measures import joined
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import PhaseTask


@pytest.fixture
def learner(examples, network_params, objective_params, train_params):
    """Return a function that makes a learner of a linear model y = w x in double precision."""

    def learner(**values) -> Learner:
        params: TrainParams = train_params.model_copy(update={"batch_size": 5, **values})
        recipe = build_recipe("VGGsrc", network_params, objective_params, params)
        task = PhaseTask(recipe, recipe.phases[0], examples, 0)
        model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        model.weight.data.fill_(3.0)
        groups = [{"params": list(model.parameters()), "peak": 0.5, "part": "all"}]
        optimizers = [torch.optim.SGD(groups, lr=0.0)]
        return Learner(task, "run, phase x", model, model, optimizers, start_accelerator(params), num_steps=12)

    return learner


def batch(values: list[float]) -> Loaded:
    """Return a batch whose images are these numbers, for the first rows of the examples."""
    number = len(values)
    images = torch.tensor(values, dtype=torch.float64)[:, None]
    of_source = DomainBatch(images, torch.zeros(number, dtype=torch.int64), None)
    return Loaded({"source": list(range(number))}, {"source": of_source})


def run_step(learner: Learner, parts: list[list[float]]) -> dict[str, float]:
    learner.begin_step(3, [batch(part) for part in parts])
    sums: dict[str, float] = {}
    for part in learner.parts():
        loss = learner.module(part["source"].images).square().mean()
        for name, value in learner.backward(loss, part, {"twice": 2 * loss}).items():
            sums[name] = sums.get(name, 0) + value.item()
    return sums


def test_the_gradient_of_parts_of_unequal_size_is_that_of_the_step(learner):
    # loss: mean of (w x)^2, its gradient 2 w mean(x^2) with w = 3, mean(x^2) = (1 + 4 + 9 + 16 + 25) / 5 = 11
    whole, parted = learner(), learner(accumulation=2)
    expected = {"objective": 99.0, "twice": 198.0}
    assert run_step(whole, [[1, 2, 3, 4, 5]]) == pytest.approx(expected, rel=1e-14)
    assert run_step(parted, [[1, 2], [3, 4, 5]]) == pytest.approx(expected, rel=1e-14)
    for one in (whole, parted):
        assert one.module.weight.grad.item() == pytest.approx(66.0, rel=1e-14)


def test_an_update_uses_the_rate_of_the_step_and_forgets_the_gradients(learner):
    one = learner(schedule=ScheduleParams(kind="constant", warm_up=0.5))
    run_step(one, [[1, 2, 3, 4, 5]])
    one.update()
    # the fourth of six warm-up steps, with a peak rate of 0.5
    assert one.module.weight.item() == pytest.approx(3 - 66 * 0.5 * 4 / 6)
    assert one.module.weight.grad is None
    assert one.num_skipped == 0
    assert (one.step, one.epoch) == (3, 0)  # four steps per epoch


def test_the_loop_over_parts_can_be_run_again(learner):
    one = learner(accumulation=2)
    one.begin_step(0, [batch([1, 2]), batch([3, 4, 5])])
    for _ in range(2):
        assert [part["source"].images.flatten().tolist() for part in one.parts()] == [[1, 2], [3, 4, 5]]


def test_a_loss_that_is_not_finite_names_the_images_of_its_part(learner, examples):
    one = learner(accumulation=2)
    one.last_checkpoint = "somewhere"
    with pytest.raises(UserError) as error:
        run_step(one, [[1, 2], [3, float("inf"), 5]])
    assert str(error.value).splitlines() == [
        "run, phase x: the loss is inf at step 3 (epoch 1): twice inf.",
        f"Its images: {{'source': {examples.rows['image_id'][:3].to_list()}}}",
        "Last good checkpoint: somewhere",
        "Lower train.learning_rate or lengthen train.schedule.warm_up.",
    ]


def test_in_fp16_the_message_names_a_way_out(learner):
    one = learner()
    one.task.params = one.task.params.model_copy(update={"mixed_precision": "fp16"})
    with pytest.raises(UserError, match=r"warm_up, or set train.mixed_precision to bf16\.$"):
        run_step(one, [[float("nan")] * 5])


@pytest.mark.parametrize(("asked", "left_out", "fails"), [(3, 3, True), (3, 2, False), (0, 0, False)])
def test_an_epoch_whose_updates_were_all_left_out_is_an_error(learner, asked, left_out, fails):
    one = learner()
    one.num_updates, one.num_skipped = asked, left_out  # for example of two alternating optimisers
    if fails:
        with pytest.raises(UserError, match="every gradient of epoch 1 overflowed in fp16"):
            one.check_epoch()
    else:
        one.check_epoch()
    one.begin_epoch(num_drops=0)
    run_step(one, [[1, 2, 3, 4, 5]])
    one.update()
    assert (one.num_updates, one.num_skipped) == (1, 0)


@pytest.mark.parametrize(("batch_size", "processes", "fits"), [(8, 2, True), (7, 2, False), (4, 1, True)])
def test_parts_have_two_draws_or_more(train_params, batch_size, processes, fits):
    params = train_params.model_copy(update={"batch_size": batch_size, "accumulation": 2})
    if fits:
        check_parts(params, processes)
    else:
        with pytest.raises(
            UserError, match=r"7 draws of a stream, for 2 processes with train\.accumulation = 2.* to 8"
        ):
            check_parts(params, processes)


@pytest.mark.parametrize(("groups", "processes", "fits"), [(4, 2, True), (4, 4, True), (4, 1, True), (4, 3, False)])
def test_each_process_has_groups_of_its_own(train_params, groups, processes, fits):
    params = train_params.model_copy(update={"batch_size": 12, "groups": groups})
    if fits:
        check_parts(params, processes)
    else:
        with pytest.raises(UserError, match=r"train\.groups = 4, for 3 processes.* to a multiple of 3 that divides"):
            check_parts(params, processes)


def test_a_step_draws_equally_from_groups(train_params):
    values = {**train_params.model_dump(), "batch_size": 6}
    assert TrainParams.model_validate({**values, "groups": 3}).groups == 3
    with pytest.raises(ValidationError, match=r"groups = 4: .* batch_size must be a multiple of it, not 6"):
        TrainParams.model_validate({**values, "groups": 4})


@pytest.mark.parametrize(
    ("method", "batch_size", "study", "steps"),
    [
        # an epoch is one pass over the target's 15 training images; without a target, over the source's 21
        ("MTMDD-VM", 4, {}, 4),
        ("MTMDD-VM", 5, {}, 3),
        ("TDL", 4, {}, 6),
        # images that a study leaves out still count for the length of an epoch
        ("MTMDD-VM", 4, {"fewer": Fewer(domain="target", share=0.25)}, 4),
        ("TDL", 4, {"source_categories": 1}, 6),
    ],
)
def test_steps_of_an_epoch(
    tiny_data, network_params, objective_params, train_params, method, batch_size, study, steps
):  # fmt: skip
    params = train_params.model_copy(update={"batch_size": batch_size})
    recipe = build_recipe(method, network_params, objective_params, params, **study)
    rows = read_rows(tiny_data.split, recipe, 0)
    examples = Examples.read(tiny_data.images, rows, tiny_data.features, network_params, cache=False)
    assert num_steps_per_epoch(PhaseTask(recipe, recipe.phases[0], examples, 0)) == steps


def test_shares_cover_everything_once():
    found = [list(range(11))[share_of(11, part, 4)] for part in range(4)]
    assert found == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_what_processes_have_predicted_is_put_together(
    examples, network_params, objective_params, train_params, tmp_path
):
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, train_params)
    task = PhaseTask(recipe, recipe.phases[0], examples, 0)
    network = task.network(lambda phase: {})
    one = Learner(task, "run", network, network, task.optimizers(network), start_accelerator(train_params), 12)
    rows = examples.row_numbers("source", "validation")
    whole = task.predict(one, "source", rows)
    parts = joined([task.predict(one, "source", rows[share_of(len(rows), part, 2)]) for part in (0, 1)])
    assert parts.num_images == len(rows) == 9
    assert torch.equal(parts.labels, whole.labels)
    assert torch.equal(parts.clicks, whole.clicks)
    for mine, yours in zip(parts.prediction, whole.prediction, strict=True):
        assert np.allclose(mine, yours, rtol=1e-5, atol=1e-6)
