import pytest

from base.console import UserError
from base.params import ParamsError
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.methods import METHODS, check_names, weigh, with_second_step, without_target_labels


def weights(objective_params, method: str, place: int = 0) -> dict[str, float]:
    phase = weigh(METHODS[method].phases[place], objective_params)
    return {f"{term.domain} {term.kind}": term.weight for term in phase.losses}


@pytest.mark.parametrize(
    ("method", "place", "expected"),
    [
        ("VGGimg", 0, {"source recognition": 1}),
        ("VGGimg", 1, {"target recognition": 1}),
        ("TDL7", 0, {"source count": 1}),
        ("TDL", 0, {"source count": 0.9, "source position": 0.1}),
        ("TDL", 1, {"source recognition": 1}),
        ("TDL", 2, {"target recognition": 1}),
        ("MTTDL", 0, {"source recognition": 0.6, "source count": 0.4}),  # eq. 14 prints the count loss alone
        (
            "MTMDD-VM",
            0,
            {"source recognition": 0.6, "source count": 0.36, "source position": 0.04, "target recognition": 0.1},
        ),
        # the released definition's weights
        (
            "MTMDD-VM-star",
            0,
            {"source recognition": 0.6, "source count": 0.36, "source position": 0.04, "target recognition": 0.9},
        ),
    ],
)
def test_weights_of_the_paper(method, place, expected, objective_params):
    assert weights(objective_params, method, place) == expected


def test_the_multitask_first_step_has_the_position_loss_on_demand(objective_params):
    objective = objective_params.model_copy(update={"multitask_position": True})
    assert weights(objective, "MTTDL") == {"source recognition": 0.6, "source count": 0.36, "source position": 0.04}
    for method in ("TDL7", "TDL", "MTMDD-VM"):
        assert weights(objective, method) == weights(objective_params, method)


def test_extremes_drop_their_terms(objective_params):
    def found(**values):
        return set(weights(objective_params.model_copy(update=values), "MTMDD-VM"))

    assert found(tau=0.0) == {"source recognition", "source count", "target recognition"}
    assert found(tau=1.0) == {"source recognition", "source position", "target recognition"}
    assert found(lambda_=0.0) == {"source recognition", "target recognition"}
    assert found(mu_separate_heads=0.0) == {"source recognition", "source count", "source position"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lambda_", [0.0, 1.0])
def test_every_method_has_both_ends_of_lambda(method, lambda_, objective_params):
    objective = objective_params.model_copy(update={"lambda_": lambda_})
    for plan in METHODS[method].phases:
        phase = weigh(plan, objective)
        assert (phase.features is None) == (not phase.recognised)


@pytest.mark.parametrize(("method", "mu"), [("MTMDD-VM", 0.1), ("MTMDD-VM-star", 0.9)])
def test_with_prediction_alone_the_source_is_recognised_unlearned(method, mu, objective_params):
    (plan,) = METHODS[method].phases
    phase = weigh(plan, objective_params.model_copy(update={"lambda_": 1.0}))
    found = {f"{term.domain} {term.kind}": term.weight for term in phase.losses}
    assert found == {"source count": 0.9, "source position": 0.1, "target recognition": mu}
    assert phase.unlearned == ["source"]
    assert phase.recognised == ["source", "target"]


def test_what_nothing_recognises_has_no_recogniser(objective_params):
    # MTTDL's first phase at lambda = 1 is TDL's: it recognises no domain
    phase = weigh(METHODS["MTTDL"].phases[0], objective_params.model_copy(update={"lambda_": 1.0}))
    assert (phase.recognised, phase.unlearned, phase.features) == ([], None, None)
    # at mu = 0 no target image is used, so the target's recogniser would have an N without statistics
    phase = weigh(METHODS["MTMDD-VM"].phases[0], objective_params.model_copy(update={"mu_separate_heads": 0.0}))
    assert (phase.domains, phase.recognised, phase.unlearned) == (["source"], ["source"], None)


def test_a_shared_head_needs_both_domains(objective_params):
    (plan,) = METHODS["MTMDD-VM-star"].phases
    with pytest.raises(
        ParamsError, match=r"mu = 0\.0.*a shared head needs both domains, and a recognition loss on one"
    ):
        weigh(plan, objective_params.model_copy(update={"mu_shared_head": 0.0}))


@pytest.mark.parametrize(
    ("values", "method", "expected"),
    [
        # only the squared distances are halved
        ({"halved_click_losses": True}, "MTMDD-VM-star", [0.6, 0.18, 0.02, 0.9]),
        # the sum of two domains' means is twice the mean over equally many images of both
        ({"mean_over": "domain"}, "MTMDD-VM-star", [1.2, 0.72, 0.08, 1.8]),
        ({"mean_over": "domain", "halved_click_losses": True}, "MTMDD-VM-star", [1.2, 0.36, 0.04, 1.8]),
        # a single domain has only one mean
        ({"mean_over": "domain", "halved_click_losses": True}, "TDL", [0.45, 0.05]),
        ({"mean_over": "domain", "mu_separate_heads": 0.0}, "MTMDD-VM", [0.6, 0.36, 0.04]),
    ],
)
def test_weights_of_the_released_definition(values, method, expected, objective_params):
    found = weights(objective_params.model_copy(update=values), method)
    assert list(found.values()) == expected


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_with_both_recognisers(method, objective_params):
    phases = [weigh(plan, objective_params) for plan in METHODS[method].phases]
    assert {domain for phase in phases for domain in phase.recognised} == {"source", "target"}
    assert phases[-1].main_domain == "target"


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match=r"unknown methods \['VGG'\]; known methods: VGGimg, .*MTMDD-VM-star"):
        check_names(["VGGimg", "VGG"])
    with pytest.raises(ValueError, match="a method is listed twice"):
        check_names(["TDL", "TDL"])


SECOND_STEP = ({"predictor": "predict"}, ["predictor"])  # phi's ConvNet has the start weights
STARTS = {
    # for each phase: its start, and its frozen parts
    "VGGimg": {"source": ("backbone", []), "target": ("backbone", [])},
    "VGGsrc": {"source": ("backbone", []), "target": ("source", [])},
    "TDL7": {"predict": ("backbone", []), "source": SECOND_STEP, "target": SECOND_STEP},
    "TDL": {"predict": ("backbone", []), "source": SECOND_STEP, "target": SECOND_STEP},
    "MTTDL": {"predict": ("backbone", []), "target": SECOND_STEP},
    "MTMDD-VM": {"joint": ("backbone", [])},
    "MTMDD-VM-star": {"joint": ("backbone", [])},
}


@pytest.mark.parametrize("method", METHODS)
def test_where_each_phase_begins_and_what_it_leaves_alone(method, objective_params):
    phases = [weigh(plan, objective_params) for plan in METHODS[method].phases]
    assert {phase.name: (phase.start, phase.frozen) for phase in phases} == STARTS[method]
    assert METHODS[method].linear_embedding == (method == "TDL7")
    assert {phase.shared_head for phase in phases} == {method == "MTMDD-VM-star"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (None, SECOND_STEP),
        ("two ConvNets", SECOND_STEP),
        ("two ConvNets from one start", ({"backbone": "predict", "predictor": "predict"}, ["predictor"])),
        ("one ConvNet", ("predict", ["embedding"])),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_the_second_step_is_the_one_asked_for(method, kind, expected, objective_params):
    phases = [weigh(with_second_step(plan, kind), objective_params) for plan in METHODS[method].phases]
    steps = {name: expected if start == SECOND_STEP else start for name, start in STARTS[method].items()}
    assert {phase.name: (phase.start, phase.frozen) for phase in phases} == steps


@pytest.mark.parametrize(
    ("method", "phases"),
    [
        ("VGGsrc", ["source"]),
        ("TDL", ["predict", "source"]),
        ("MTTDL", ["predict"]),
        ("RACNN", ["source"]),
        ("SCDA", ["source_convnet", "source"]),
        ("SF", ["predict", "source_visual", "source_click", "source"]),
        ("linear_probe", ["source"]),
        ("DAN", ["joint"]),
        ("MTMDD-VM-star", ["joint"]),
    ],
)
def test_without_target_labels_nothing_learns_from_one(method, phases, objective_params):
    plan = without_target_labels(method, COMPARED[method], 0.4)
    assert [phase.name for phase in plan.phases] == phases
    weighed = [weigh(phase, objective_params) for phase in plan.phases]
    assert {term.domain for phase in weighed for term in phase.losses} == {"source"}
    assert {phase.main_domain for phase in weighed} == {"source"}  # which also ranks the epochs
    joint = phases == ["joint"]
    assert [phase.unlabelled for phase in weighed] == ([["target"]] if joint else [None] * len(phases))
    if joint:
        (phase,) = weighed
        assert (phase.domains, phase.recognised, phase.unlearned) == (["source", "target"],) * 2 + (["target"],)
        assert phase.epoch_domain == "target"


def test_images_without_labels_dilute_no_loss(objective_params):
    # the objective is a mean over all images of a step, half of which have no loss
    for mean_over, expected in (("step", 2.0), ("domain", 1.0)):
        objective = objective_params.model_copy(update={"mean_over": mean_over, "lambda_": 0.0})
        (plan,) = without_target_labels("MTMDD-VM-star", METHODS["MTMDD-VM-star"], 0.0).phases
        assert {term.kind: term.weight for term in weigh(plan, objective).losses} == {"recognition": expected}


@pytest.mark.parametrize(
    ("method", "lambda_", "message"),
    [
        ("MTMDD-VM", 0.4, "MTMDD-VM has a head for the target alone, which learns nothing without its labels; use one"),
        ("MDD-VM-star", 1.0, "MDD-VM-star learns categories from the target's labels alone, and can't do without them"),
        ("MTMDD-VM-star", 1.0, "MTMDD-VM-star learns categories from the target's labels alone"),
        ("MTTDL", 1.0, "MTTDL learns categories from the target's labels alone"),
    ],
)
def test_what_needs_target_labels_says_so(method, lambda_, message):
    with pytest.raises(UserError, match=message):
        without_target_labels(method, COMPARED[method], lambda_)
