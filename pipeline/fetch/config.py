"""The config of a fetch: a list of URLs in, a pool out."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from pipeline.fetch.download import DownloadConfig
from pipeline.fetch.polite import PoliteConfig
from pipeline.fetch.urls import ListConfig
from pipeline.format import address
from pipeline.format.images import MAX_PIXELS
from pipeline.settings import Settings


class ShardConfig(Settings):
    """The shape of the pool's shards."""

    rows: int = Field(default=10_000, gt=0)
    """Rows of the list that one shard stands for."""

    resize: int | None = Field(default=None, gt=0)
    """Pixels the longer side may have: longer ones become JPEGs. CommonPool has 512. Without it,
    every image keeps its bytes."""

    max_pixels: int = Field(default=MAX_PIXELS, gt=0)
    """Images of more pixels are not decoded, and not kept."""


class FetchConfig(Settings):
    """A fetch. Relative paths start at the current folder."""

    pool: str = Field(min_length=1)
    """Folder or URL that receives the shards."""

    list: ListConfig
    """What to fetch."""

    shards: ShardConfig = ShardConfig()
    """The shape of the pool."""

    download: DownloadConfig = DownloadConfig()
    """How a URL is asked for."""

    polite: PoliteConfig = PoliteConfig()
    """What a host has to bear."""

    allow_addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may be asked although they are not public, as `10.1.0.0/16`."""

    @property
    def pool_url(self) -> str:
        """The pool's canonical URL."""
        return address.absolute(self.pool)

    @property
    def digits(self) -> int:
        """Digits of a key that count the row in its shard."""
        return max(4, len(str(self.shards.rows - 1)))

    @property
    def lease(self) -> float:
        """Seconds that one request can take at most, with some to spare."""
        return self.download.timeout + 5
