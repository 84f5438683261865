"""Section `dckt.data`: the two sets of image-text pairs, and how they are prepared."""

from pydantic import Field, field_validator

from base.console import UserError
from base.params import Params
from pipelines.pairs.ingest import PairIngestParams
from pipelines.pairs.layouts import PairsParams
from pipelines.pairs.split import PairSplitParams
from pipelines.words.word_vectors import TrainedVectorParams

DOMAINS = ("source", "target")


class DomainParams(PairsParams):
    """One of the two sets."""

    splits: PairSplitParams
    word_vectors: str | None = Field(
        description="file of vectors of the texts' words: word2vec, GloVe or Parquet; null: trained on the texts"
    )


class DataParams(Params):
    """Both sets, the source and the target of the transfer."""

    domains: dict[str, DomainParams] = Field(description="source and target; {}: the system isn't run")
    ingest: PairIngestParams
    word_vectors: TrainedVectorParams

    @field_validator("domains")
    @classmethod
    def _check_domains(cls, domains: dict[str, DomainParams]) -> dict[str, DomainParams]:
        if domains and tuple(sorted(domains)) != DOMAINS:
            raise ValueError(f"expected source and target, or none, found {', '.join(domains)}")
        return domains

    def domain(self, name: str) -> DomainParams:
        """Return one of the sets.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.domains:
            raise UserError(f"dckt.data.domains has no {name!r}; it has {', '.join(self.domains) or 'nothing'}")
        return self.domains[name]
