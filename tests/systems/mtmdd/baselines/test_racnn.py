from pathlib import Path

import pytest
import torch
from torch.nn import functional
from training_runs import read_curve, train_recipe

from model.nets.attention_crop import attention_crop
from model.training.learner import Learner
from systems.mtmdd.baselines import racnn_evaluate
from systems.mtmdd.baselines.racnn import Proposal, RacnnNetwork, RacnnTask, build
from systems.mtmdd.examples import Examples
from systems.mtmdd.predictor import Model

pytestmark = pytest.mark.usefixtures("own_folder")
CATEGORIES = {"target": ["ant", "bee", "cat"]}


@pytest.fixture
def network(recipe) -> RacnnNetwork:
    whole = recipe("RACNN")
    torch.manual_seed(0)
    return build(whole.network, whole.phases[1], CATEGORIES, load_weights=True)


def pixels(number: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (number, 3, 16, 16), generator=generator, dtype=torch.uint8)


def test_a_proposal_begins_in_the_middle_and_stays_inside() -> None:
    proposal = Proposal((2, 3, 3), 16)
    omega = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(proposal(omega), torch.tensor([[7.5, 7.5, 3.75]]).expand(5, 3))
    with torch.no_grad():
        proposal.region.weight.normal_(0, 20)
    regions = proposal(omega)
    centre, half = regions[:, :2], regions[:, 2:]
    assert (centre - half >= -1e-5).all()
    assert (centre + half <= 15 + 1e-5).all()
    assert ((half >= 15 / 8 - 1e-5) & (half <= 3 * 15 / 8 + 1e-5)).all()


def test_each_scale_sees_the_region_that_the_one_before_proposes(network: RacnnNetwork) -> None:
    network.eval()
    seen = []
    for backbone in network.backbones:
        backbone.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network({"target": pixels()})
        first = network.backbones[0].normalised(pixels().float())
        assert torch.allclose(seen[0], first)
        for number in (0, 1):
            regions = network.proposals[number](network.backbones[number].run_normalised(seen[number]).omega)
            assert torch.allclose(seen[number + 1], attention_crop(seen[number], regions), atol=1e-5)


def gradients(network: RacnnNetwork, loss: torch.Tensor) -> set[str]:
    """Return the parts of the network whose parameters get a gradient that isn't zero."""
    network.zero_grad()
    loss.backward()
    return {
        ".".join(name.split(".")[:2])
        for name, weight in network.named_parameters()
        if weight.grad is not None and weight.grad.abs().sum() > 0
    }


def test_the_cross_entropies_train_each_scale_apart_and_no_proposal(network: RacnnNetwork) -> None:
    network.train()
    logits = network({"target": pixels()}, purpose="recognise")
    labels = torch.tensor([0, 1, 2, 0])
    for scale in range(3):
        found = gradients(network, functional.cross_entropy(logits[scale], labels).clone())
        assert found == {f"backbones.{scale}", f"recognisers.{scale}"}
        logits = network({"target": pixels()}, purpose="recognise")
    assert gradients(network, functional.cross_entropy(logits[3], labels)) == {"recognisers.3"}


def test_the_ranking_moves_the_proposals_and_leaves_the_convnets_statistics(network: RacnnNetwork) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    logits = network({"target": pixels()}, purpose="attend")
    assert network.training
    assert {"proposals.0", "proposals.1"} <= gradients(
        network, functional.cross_entropy(logits[2], torch.zeros(4).long())
    )
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_a_step_trains_convnets_and_proposals_in_turn(recipe, examples: Examples, monkeypatch) -> None:
    turns, update = [], Learner.update

    def spied(learner: Learner, number: int = 0) -> None:
        before = {name: weight.detach().clone() for name, weight in learner.network.named_parameters()}
        update(learner, number)
        changed = {name.split(".")[0] for name, weight in learner.network.named_parameters()
                   if not torch.equal(weight, before[name])}  # fmt: skip
        turns.append((learner.task.name, changed))

    monkeypatch.setattr(Learner, "update", spied)
    train_recipe(recipe("RACNN", epochs=1), examples, 0, Path("model"), "run", kind=RacnnTask)
    of_target = [changed for name, changed in turns if name == "target"]
    assert all(changed == {"backbones", "recognisers"} for changed in of_target[::2])
    assert all(changed <= {"proposals"} for changed in of_target[1::2])
    assert any(of_target[1::2])
    assert len(read_curve(Path("model/curves/target"), "train/ranking")) == 1


def test_the_target_starts_with_the_sources_convnets_and_proposals(recipe, examples: Examples) -> None:
    whole = recipe("RACNN", epochs=1)
    train_recipe(whole, examples, 0, Path("model"), "run", kind=RacnnTask)
    model = Model.read(Path("model"), racnn_evaluate.network_of)
    earlier = model.network(model.recipe.phases[0]).state_dict()
    torch.manual_seed(5)
    start = RacnnTask(whole, whole.phases[1], examples, 0).network(lambda name: {"source": earlier}[name])
    for name, value in start.state_dict().items():
        if name.startswith("recognisers"):
            assert ".source." not in name
        else:
            assert torch.equal(value, earlier[name]), name
