"""Parameters of the comparison methods; lists are candidates, from which the validation pairs choose."""

from typing import Annotated

from pydantic import Field

from base.params import Params

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Sizes = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
Positives = Annotated[list[Positive], Field(min_length=1)]
NotNegatives = Annotated[list[NotNegative], Field(min_length=1)]


class CCAParams(Params):
    """Canonical correlation analysis."""

    axes: int = Field(description="principal axes of each medium, at most", ge=1)
    components: Sizes = Field(description="dimensions of the common space")
    ridges: NotNegatives = Field(description="added to the variance of each axis, times the mean variance of the axes")


class KCCAParams(CCAParams):
    """Canonical correlation analysis with Gaussian kernels."""

    widths: Positives = Field(description="of the kernel: times the median squared distance")
    most_pairs: int = Field(description="training pairs at most; more are drawn from: the kernel matrix has n^2 cells",
                            ge=2)  # fmt: skip


class CFAParams(Params):
    """Cross-modal factor analysis."""

    components: Sizes = Field(description="dimensions of the common space")


class JRLParams(Params):
    """Joint representation learning."""

    axes: int = Field(description="principal axes of each medium, at most", ge=1)
    pair_weights: NotNegatives = Field(description="of the distance between an image and its text")
    graph_weights: NotNegatives = Field(description="of the differences between neighbours")
    sparsities: NotNegatives = Field(description="of the sum of the lengths of the projections' rows")
    neighbours: int = Field(description="of each item in its medium's graph", ge=1)
    rounds: int = Field(description="updates of both projections", ge=1)


class EncoderParams(Params):
    """Two encoders, one of each medium, with a hidden layer."""

    hidden: int = Field(description="units of each hidden layer", ge=1)
    codes: int = Field(description="dimensions of the common space; Deep-SM's are the categories", ge=1)
    dropout: float = Field(description="share of the hidden units dropped in training", ge=0, lt=1)


class NetworkParams(EncoderParams):
    """What all networks among the methods share: encoders, AdamW, early stopping by the validation MAP."""

    learning_rates: Positives = Field(description="of AdamW")
    weight_decay: float = Field(description="of AdamW", ge=0)
    batch_size: int = Field(description="pairs of a step", ge=2)
    epochs: int = Field(description="passes over the training pairs, at most", ge=1)
    patience: int = Field(description="epochs without a higher validation MAP after which training ends", ge=1)
    threads: int = Field(description="CPU threads", ge=1)


class CorrAEParams(Params):
    """Correspondence autoencoder."""

    correspondences: Annotated[list[Share], Field(min_length=1)] = Field(
        description="alpha: weight of the distance of codes; 1 - alpha is that of the reconstructions"
    )


class ACMRParams(Params):
    """Adversarial cross-modal retrieval."""

    margin: float = Field(description="of the triplet loss", gt=0, le=2)
    triplet_weights: NotNegatives = Field(description="of the triplet loss; the label loss has the weight 1")
    reversal: float = Field(description="largest factor on the gradient that the media classifier gives back", ge=0)


class TwoTowerParams(Params):
    """Two towers with the contrastive loss."""

    start_factor: float = Field(description="on the cosines, at the start; it is learned", gt=0)
    labels: Annotated[list[bool], Field(min_length=1)] = Field(
        description="true: a pair of the same category is no negative; false: labels are not used, as in CLIP"
    )


class BaselineParams(Params):
    """The comparison methods."""

    cca: CCAParams
    kcca: KCCAParams
    cfa: CFAParams
    jrl: JRLParams
    networks: NetworkParams
    corr_ae: CorrAEParams
    acmr: ACMRParams
    two_tower: TwoTowerParams
