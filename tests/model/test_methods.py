import pytest
from pydantic import ValidationError

from model.methods import METHODS, MethodsParams, weigh
from pipelines.params import ParamsError


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
        ("MTTDL", 0, {"source recognition": 0.6, "source count": 0.36, "source position": 0.04}),
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


def test_extremes_drop_their_terms(objective_params):
    def found(**values):
        return set(weights(objective_params.model_copy(update=values), "MTMDD-VM"))

    assert found(tau=0.0) == {"source recognition", "source count", "target recognition"}
    assert found(tau=1.0) == {"source recognition", "source position", "target recognition"}
    assert found(lambda_=0.0) == {"source recognition", "target recognition"}
    assert found(mu_separate_heads=0.0) == {"source recognition", "source count", "source position"}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "MTMDD-VM-star"])
@pytest.mark.parametrize("lambda_", [0.0, 1.0])
def test_every_method_with_separate_heads_has_both_ends_of_lambda(method, lambda_, objective_params):
    objective = objective_params.model_copy(update={"lambda_": lambda_})
    for plan in METHODS[method].phases:
        phase = weigh(plan, objective)
        assert (phase.features is None) == (not phase.recognised)


def test_a_shared_head_needs_both_domains(objective_params):
    (plan,) = METHODS["MTMDD-VM-star"].phases
    with pytest.raises(ParamsError, match=r"lambda = 1\.0.*a shared head needs a recognition loss on both domains"):
        weigh(plan, objective_params.model_copy(update={"lambda_": 1.0}))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_with_both_recognisers(method, objective_params):
    phases = [weigh(plan, objective_params) for plan in METHODS[method].phases]
    assert {domain for phase in phases for domain in phase.recognised} == {"source", "target"}
    assert phases[-1].main_domain == "target"


def test_unknown_methods_are_named():
    with pytest.raises(ValidationError, match=r"unknown methods \['VGG'\]; known: VGGimg, .*MTMDD-VM-star"):
        MethodsParams(names=["VGGimg", "VGG"])
    with pytest.raises(ValidationError, match="a method is listed twice"):
        MethodsParams(names=["TDL", "TDL"])
