"""The parameters of networks, losses and training, and the recipe that a training run reads.

The first half are sections of the parameter file. `systems.mtmdd.recipes` resolves them into the classes of the second
half: a recipe is one method at one point of a study, with only the parameters that its phases use. So a changed
parameter makes only those trainings stale that use it.
"""

from typing import Literal, get_args

from pydantic import Field, model_validator

from base.params import Params
from model.nets.params import BackboneParams
from model.training import params as training

Domain = Literal["source", "target"]
Features = Literal["visual", "click", "visual+click"]
EmbeddingKind = Literal["FC", "biFC", "CONV+FC", "CONV+biFC"]
Part = Literal["backbone", "embedding", "predictor"]
SecondStep = Literal["two ConvNets", "two ConvNets from one start", "one ConvNet"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
COMMAND = r"^systems\.mtmdd\.baselines\.[a-z_]+$"  # a module that a recipe may name
BACKBONE = "backbone"  # the start of a phase without an earlier one: network.weights


class EmbeddingParams(Params):
    """The word embedding, from the ConvNet's last map to the predicted click feature (section III-C, Table III)."""

    kind: EmbeddingKind = Field(description="FC is linear (E of eq. 2); CONV is E1, biFC is E2 and E3 of eq. 8")
    kernel_size: int | None = Field(None, description="E1: side of the kernels, odd for 'same' padding", ge=1, le=15)
    kernels: int | None = Field(None, description="E1: number of kernels", ge=1)
    hidden: int | None = Field(None, description="rows of E2", ge=1)
    dropout: float | None = Field(None, description="share of E2's outputs dropped in training", ge=0, lt=1)
    padding: int | None = Field(None, description="E1: zeros around omega; null: 'same'", ge=0, le=7)
    ceil_pooling: bool | None = Field(None, description="E1: pool incomplete windows too, as Caffe does; null: no")
    rank: int | None = Field(
        None, description="E3 as a product of two matrices with this many columns and rows; null: one matrix", ge=1
    )
    click_start: bool | None = Field(
        None, description="E3's second factor starts with the training click features' main directions; null: no"
    )

    @model_validator(mode="after")
    def _complete(self) -> "EmbeddingParams":
        missing = [name for name in self.used() if getattr(self, name) is None]
        if missing:
            raise ValueError(f"kind {self.kind} needs {', '.join(missing)}")
        if self.has_convolution and self.padding is None and self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd ('same' padding), found {self.kernel_size}; or set padding")
        if self.click_start and self.rank is None:
            raise ValueError("click_start needs rank, the number of directions")
        return self

    @property
    def has_convolution(self) -> bool:
        """Return True for a kind with E1."""
        return self.kind.startswith("CONV")

    @property
    def has_hidden(self) -> bool:
        """Return True for a kind with E2."""
        return self.kind.endswith("biFC")

    def used(self) -> list[str]:
        """Return the names of the parameters that this kind needs in addition to `kind`."""
        return ["kernel_size", "kernels"] * self.has_convolution + ["hidden", "dropout"] * self.has_hidden

    def only_used(self, kind: EmbeddingKind) -> "EmbeddingParams":
        """Return an embedding of the given kind, with only those of this embedding's values that the kind uses."""
        used = self.model_copy(update={"kind": kind}).used()
        used += ["padding", "ceil_pooling"] * kind.startswith("CONV") + ["rank", "click_start"] * kind.endswith("biFC")
        return EmbeddingParams(kind=kind, **{name: getattr(self, name) for name in used})


class NetworkParams(BackboneParams):
    """The network of Fig. 8 and the size of its input images."""

    dropout: float = Field(description="share of [N(phi), N(v^)] dropped before the recogniser in training", ge=0, lt=1)
    embedding: EmbeddingParams | None = Field(None, description="null in the recipe of a method without click branch")
    shared_normalisation: bool = Field(
        False, description="N of eq. 7: with common statistics of both domains instead of each domain's own"
    )
    affine_normalisation: bool = Field(False, description="N of eq. 7: with a learned scale and shift of each value")
    second_step: SecondStep | None = Field(
        None,
        description="of TDL [7], TDL and MTTDL. null or two ConvNets: the first step's ConvNet and embedding, frozen,"
        " beside a ConvNet that is trained from the start weights (eq. 5); two ConvNets from one start: from the first"
        " step's; one ConvNet: it is trained under the frozen embedding",
    )


class PositionParams(Params):
    """The position function S of eq. 11."""

    bandwidth: float = Field(description="B: x = B maps to 1 - T", gt=0)
    threshold: float = Field(description="T: x = 0 maps to T", gt=0, lt=0.5)
    position_input: Literal["batch-normalised", "raw"] = Field(
        "batch-normalised", description="the sigmoid's inputs from v and v^; raw: as in the released definition"
    )
    position_scale: Literal["l2", "1/sqrt(K)"] = Field(
        "l2", description="scale of the sigmoid's output: N' (eq. 11), or the released definition's constant"
    )


class ClickBranchParams(Params):
    r"""Changes to the training of the click branch that the paper doesn't have; the defaults change nothing.

    With the recognition losses R and the click losses P, each with its weights, and omega's two consumers phi and v^:

    - the gradient at v^ is g dR/dv^ + c dP/dv^ (the paper: g = c = 1)
    - the gradient at omega is dR/dphi dphi/domega + b (g dR/dv^ + c dP/dv^) dv^/domega (the paper: b = 1)

    So c scales the click losses for the embedding, and with b = 1/c their gradient in the ConvNet stays as it was.
    """

    recogniser_gradient: float = Field(1.0, description="g: factor on the recognisers' gradient into v^", ge=0)
    click_gradient: float = Field(1.0, description="c: factor on the click losses' gradient at v^", gt=0)
    convnet_gradient: float | None = Field(
        None, description="b: factor on the embedding's gradient into the ConvNet; null: 1 / click_gradient", ge=0
    )
    soft_targets: float = Field(
        0.0, description="s: train on (1 - s) v + s (mean v of the category's training images) instead of v", ge=0, le=1
    )

    @property
    def factor_at_convnet(self) -> float:
        """The factor b."""
        return 1 / self.click_gradient if self.convnet_gradient is None else self.convnet_gradient


class ObjectiveParams(ClickBranchParams, PositionParams):
    """The weights of eq. 12, 13 and 15."""

    lambda_: float = Field(
        alias="lambda", description="eq. 13: weight of the click loss against source recognition", ge=0, le=1
    )
    tau: float = Field(description="eq. 12: weight of the position loss against the count loss", ge=0, le=1)
    mu_separate_heads: float = Field(description="eq. 15: weight of target recognition, separate heads", ge=0)
    mu_shared_head: float = Field(description="eq. 15: weight of target recognition, shared head", ge=0)
    multitask_position: bool = Field(
        False, description="MTTDL's first step: with the position loss (eq. 12), which eq. 14 doesn't have"
    )
    halved_click_losses: bool = Field(False, description="halve each squared distance, as Caffe's Euclidean loss does")
    mean_over: Literal["step", "domain"] = Field(
        "step", description="eq. 6: the mean over all images of a step; domain: the sum of each domain's mean"
    )


class TrainParams(training.TrainParams):
    """How every phase is trained (eq. 6 by stochastic gradient descent)."""

    embedding_multiplier: float = Field(description="times learning_rate: the word embedding's peak rate", gt=0)
    recogniser_multiplier: float = Field(description="times learning_rate: the recognisers' peak rate", gt=0)
    recogniser_bias_multiplier: float = Field(
        1.0, description="times recogniser_multiplier: peak rate of the recognisers' biases", gt=0
    )
    embedding_decay_multiplier: float = Field(1.0, description="times weight_decay: the word embedding's", ge=0)
    mirrored: list[Domain] = Field(
        list(DOMAINS), description="domains whose training images are mirrored half of the time"
    )


class LossTerm(Params):
    """One weighted term of a phase's objective; the mean is over all images of the step (eq. 6)."""

    domain: Domain
    kind: Literal["recognition", "count", "position", "own"] = Field(
        description="own: the click loss that the method's command defines (`Recipe.train_command`)"
    )
    weight: float = Field(gt=0)


class Phase(Params):
    """One training from start weights to chosen weights: its losses and domains, its start, its frozen parts.

    A phase whose `start` names a phase for the part ``predictor`` has no word embedding of its own: v^ is predicted by
    that phase's ConvNet and word embedding together, which are frozen (eq. 5).
    """

    name: str = Field(pattern=r"^[a-z0-9_-]+$", description="name of its weights file")
    losses: list[LossTerm] = Field(min_length=1)
    start: str | dict[Part, str] = Field(
        description="backbone (network.weights), an earlier phase, or for each part the earlier phase it comes from; a"
        " part that is not listed starts as in a phase without an earlier one"
    )
    frozen: list[Part] = Field(description="parts that keep their start weights")
    features: Features | None = Field(None, description="the recogniser's input; null: nothing is recognised")
    shared_head: bool = Field(False, description="one recogniser for both domains")
    unlearned: list[Domain] | None = Field(
        None,
        description="domains that are recognised, but have no recognition loss (lambda = 1): the shared head recognises"
        " them, or a head that keeps its initial weights",
    )
    train: TrainParams | None = Field(None, description="of this phase; null: those of the recipe")
    unlabelled: list[Domain] | None = Field(
        None, description="domains whose training images are seen, but have no labels and no loss of their own"
    )
    epoch_domain: Domain | None = Field(
        None, description="an epoch has as many draws as this domain has training images; null: the main domain"
    )
    fitted: bool | None = Field(
        None, description="the method's command computes the recogniser in one epoch, without gradient steps; null: no"
    )

    @property
    def starts_from(self) -> list[str]:
        """The earlier phases that provide start weights."""
        names = [self.start] if isinstance(self.start, str) else list(self.start.values())
        return [name for name in dict.fromkeys(names) if name != BACKBONE]

    @property
    def domains(self) -> list[Domain]:
        """The domains whose images the phase sees: those that have a loss, or no labels."""
        return [domain for domain in DOMAINS if domain in self._with_loss or domain in (self.unlabelled or ())]

    @property
    def _with_loss(self) -> set[Domain]:
        return {term.domain for term in self.losses}

    @property
    def main_domain(self) -> Domain:
        """The domain that defines epochs and whose validation split ranks them: the target if it has a loss."""
        return [domain for domain in self.domains if domain in self._with_loss][-1]

    @property
    def recognised(self) -> list[Domain]:
        """The domains with a recogniser."""
        learned = {term.domain for term in self.losses if term.kind == "recognition"}
        return [domain for domain in DOMAINS if domain in learned.union(self.unlearned or ())]

    @property
    def predicts_clicks(self) -> bool:
        """Return True for a phase with a click loss."""
        return any(term.kind != "recognition" for term in self.losses)

    @property
    def uses_clicks(self) -> bool:
        """Return True for a phase that uses predicted clicks."""
        return self.predicts_clicks or (self.features is not None and "click" in self.features)

    @property
    def has_predictor(self) -> bool:
        """Return True for a phase whose clicks are predicted by an earlier phase's ConvNet and word embedding."""
        return isinstance(self.start, dict) and "predictor" in self.start

    @property
    def has_embedding(self) -> bool:
        """Return True for a phase with a word embedding on its own ConvNet."""
        return self.uses_clicks and not self.has_predictor

    @model_validator(mode="after")
    def _consistent(self) -> "Phase":
        if any(term.domain == "target" and term.kind != "recognition" for term in self.losses):
            raise ValueError("the target domain has no clicks, so it can't have a click loss")
        if bool(self.recognised) != (self.features is not None):
            raise ValueError("`features` and a recognition loss need each other: one of them is missing")
        learned = [term.domain for term in self.losses if term.kind == "recognition"]
        if self.unlearned and (not learned or not set(self.unlearned) <= set(self.domains) - set(learned)):
            raise ValueError(
                f"unlearned = {self.unlearned}: each must be a domain with other losses or without labels, and another"
                " domain must have a recognition loss"
            )
        if self.unlabelled and self._with_loss & set(self.unlabelled):
            raise ValueError(f"unlabelled = {self.unlabelled}: a domain without labels can't have a loss")
        if self.shared_head and len(self.recognised) < 2:
            raise ValueError("a shared head needs both domains, and a recognition loss on one of them")
        if self.has_predictor != ("predictor" in self.frozen):
            raise ValueError("a predictor needs a phase in `start`, and must be frozen: one of them is missing")
        if self.has_predictor and (self.predicts_clicks or not self.uses_clicks):
            raise ValueError("a phase with a predictor must recognise by the predicted clicks, without a click loss")
        for part in ("embedding", "predictor"):
            if isinstance(self.start, dict) and part in self.start:
                if part == "embedding" and not self.has_embedding:
                    raise ValueError(
                        f"start gives the embedding the weights of {self.start['embedding']!r}, but this phase has no"
                        " embedding"
                    )
                if self.start[part] == BACKBONE:
                    raise ValueError(
                        f"start: the {part} must come from an earlier phase; {BACKBONE!r} has no embedding"
                    )
        if len({(term.domain, term.kind) for term in self.losses}) < len(self.losses):
            raise ValueError("a loss is listed twice for the same domain")
        return self


class Fewer(Params):
    """One-shot study: one domain keeps ceil(share * n_k) training images per category (Fig. 14)."""

    domain: Domain
    share: float = Field(gt=0, le=1)


class Recipe(Params):
    """One method at one point of a study: everything that defines a training run, except data and seed."""

    method: str
    network: NetworkParams
    train: TrainParams
    position: PositionParams | None = Field(None, description="only where a phase has the position loss")
    click_branch: ClickBranchParams | None = Field(None, description="only where it changes a phase with an embedding")
    phases: list[Phase] = Field(min_length=1)
    source_categories: int | None = Field(
        None, description="out-of-class study: number of categories that the source keeps", ge=1
    )
    fewer: Fewer | None = Field(None, description="one-shot study")
    source: str | None = Field(None, description="cross-object study: the data set whose source replaces the own one")
    unlabelled_target: bool | None = Field(
        None,
        description="the study of a target without labels: no loss uses one, and a method without a recogniser of the"
        " target recognises its images by the source's; null: no",
    )
    train_command: str | None = Field(
        None, description="the module that trains it; null: systems.mtmdd.train", pattern=COMMAND
    )
    evaluate_command: str | None = Field(
        None, description="the module that evaluates it; null: systems.mtmdd.evaluate", pattern=COMMAND
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        earlier = {BACKBONE: False}  # by name: whether the phase has an embedding
        for phase in self.phases:
            for name in phase.starts_from:
                if name not in earlier:
                    raise ValueError(f"phase {phase.name} starts from {name!r}; earlier ones are {list(earlier)}")
            for part in ("embedding", "predictor"):
                if isinstance(phase.start, dict) and part in phase.start and not earlier[phase.start[part]]:
                    raise ValueError(f"phase {phase.name}: phase {phase.start[part]!r} has no embedding to start from")
            if phase.name in earlier:
                raise ValueError(f"two phases are named {phase.name!r}")
            earlier[phase.name] = phase.has_embedding
        if any(phase.uses_clicks for phase in self.phases) != (self.network.embedding is not None):
            raise ValueError("network.embedding must be given if and only if a phase uses the click branch")
        if any(term.kind == "position" for phase in self.phases for term in phase.losses) != (
            self.position is not None
        ):
            raise ValueError("position must be given if and only if a phase has the position loss")
        return self
