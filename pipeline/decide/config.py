"""What a curation drops, and why: the `decide` section of its config."""

from pydantic import model_validator

from pipeline.decide.clusters import ClustersConfig
from pipeline.decide.cut import CutConfig
from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.lists import ListsConfig
from pipeline.decide.quotas import QuotaConfig
from pipeline.decide.rules import RulesConfig
from pipeline.decide.safety import SafetyConfig
from pipeline.decide.selection import SelectConfig
from pipeline.settings import Settings


class DecideConfig(Settings):
    """What to drop, and why. Every rule is off until it is configured.

    Rules are tried in the order of these fields, but that `lists.allow` comes after `rules`. The
    first that drops a row gives its reason.
    """

    lists: ListsConfig = ListsConfig()
    """Takedowns and opt-outs; permitted uids, URLs and domains."""

    safety: SafetyConfig | None = None
    """Scores above which an image is unsafe."""

    decontaminate: DecontaminateConfig | None = None
    """Evaluation sets to stay clear of."""

    rules: RulesConfig = RulesConfig()
    """Size, shape, quality and caption."""

    select: SelectConfig | None = None
    """A published subset, by uid."""

    clusters: ClustersConfig | None = None
    """Kinds of images, by their nearest centroid."""

    cuts: tuple[CutConfig, ...] = ()
    """Top fractions by score, one after another, as DFN and DataComp do."""

    duplicates: DuplicatesConfig | None = None
    """Equal and near-equal images."""

    quotas: QuotaConfig | None = None
    """So many images at most of one domain or cluster."""

    @property
    def keeper_score(self) -> str:
        """The score by which the keeper of duplicates is chosen: the first cut's, else CLIP's."""
        return self.cuts[0].score if self.cuts else "clip_score"

    @model_validator(mode="after")
    def _a_quota_per_cluster_needs_clusters(self) -> "DecideConfig":
        if self.quotas and self.quotas.per == "cluster" and not self.clusters:
            raise ValueError("quotas.per is cluster: name the centroids under clusters")
        return self
