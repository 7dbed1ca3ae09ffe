"""Which addresses may be talked to: a list of URLs is hostile input, and this machine has
neighbours that trust it.

An address is judged three times: as it stands in the URL, in every DNS answer, and when the socket
to it is made. The connection goes to the address that was judged, so that a name which answers
differently the second time gains nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipeline.fetch.failure import Failure

Networks = Sequence[IPv4Network | IPv6Network]
"""What is allowed although it is not public."""

MAX_URL = 8000
"""Characters; servers refuse longer ones."""

_NAT64 = IPv6Network("64:ff9b::/96")
_SERVICES = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))
"""Public by their number, yet answered by the cloud's own host to its guests (Oracle, Azure)."""

_SPECIAL = (
    "unspecified",
    "loopback",
    "link_local",
    "site_local",
    "multicast",
    "reserved",
    "private",
)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.*", re.IGNORECASE)


def parse(text: object, allow: Networks) -> URL:
    """A URL that may be asked for. Raises Failure.

    http and https only, any port. A host that is an address is judged here, and is refused in any
    notation but the plain one: resolvers read 2130706433, 0x7f.1 and 127.1 as addresses too.
    """
    if not isinstance(text, str) or not text.strip():
        raise Failure("bad_url", "empty")
    if len(text) > MAX_URL:
        raise Failure("bad_url", f"longer than {MAX_URL} characters")
    try:
        url = URL(text.strip())
        host, port = url.raw_host, url.port
    except (ValueError, TypeError) as error:
        raise Failure("bad_url", "cannot be parsed") from error
    if url.scheme not in ("http", "https"):
        raise Failure("bad_url", f"the scheme is {url.scheme[:20] or 'missing'}, not http or https")
    if not host or not port:
        raise Failure("bad_url", "no host or no port")
    _judge_host(host, allow)
    return url.with_fragment(None)


def _judge_host(host: str, allow: Networks) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise Failure("refused_address", f"{host[:100]} is an address in disguise") from None
    else:
        judge(host, allow)


def judge(text: str, allow: Networks) -> None:
    """Raises Failure unless the address is public or in one of the allowed networks."""
    address = _meant(ipaddress.ip_address(text))
    if any(address in network for network in allow):
        return
    special = [name for name in _SPECIAL if getattr(address, f"is_{name}", False)]
    if special or not address.is_global or any(address in network for network in _SERVICES):
        name = special[0].replace("_", "-") if special else "not public"
        raise Failure("refused_address", f"{address} is {name}")


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


class JudgedResolver(AbstractResolver):
    """A resolver whose refused answers never reach the connection."""

    def __init__(self, inner: AbstractResolver, allow: Networks) -> None:
        self.inner = inner
        self.allow = allow

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The answers that may be talked to. Raises Failure if there are answers, but none such."""
        kept: list[ResolveResult] = []
        refused: Failure | None = None
        for answer in await self.inner.resolve(host, port, family):
            try:
                judge(answer["host"], self.allow)
                kept.append(answer)
            except Failure as failure:
                refused = failure
        if not kept:
            raise refused or OSError("no answers")
        return kept

    async def close(self) -> None:
        """Ends the resolver behind it."""
        await self.inner.close()


def judged_socket(allow: Networks) -> Callable[[Any], socket.socket]:
    """Makes sockets for aiohttp's connector; raises Failure for an address that is refused."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        judge(where[0], allow)
        return socket.socket(family, kind, protocol)

    return make
