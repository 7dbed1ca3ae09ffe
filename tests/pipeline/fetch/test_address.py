"""Addresses: what is refused, however it is written and whenever it turns up."""

import asyncio
import socket
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from pipeline.fetch.address import JudgedResolver, judge, judged_socket, parse
from pipeline.fetch.download import DownloadConfig, download, session
from pipeline.fetch.failure import Failure
from tests.pipeline.fetch.server import hosts

HERE = [ip_network("127.0.0.1/32")]


@pytest.mark.parametrize(
    "address",
    [
        *["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"],
        *["169.254.169.254", "100.64.0.1", "100.100.100.200", "224.0.0.1", "240.0.0.1"],
        *["255.255.255.255", "192.0.0.192", "168.63.129.16", "198.18.0.1", "192.0.2.1"],
        *["::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"],
        *["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2001:db8::1"],
        *["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:0:7f00:1::", "fec0::1"],
    ],
)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(Failure, match="refused_address"):
        judge(address, ())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_a_public_address_is_not_refused(address):
    judge(address, ())


def test_only_the_networks_that_are_allowed_are():
    judge("127.0.0.1", HERE)
    judge("::ffff:127.0.0.1", HERE)
    for other in ("127.0.0.2", "::1", "10.0.0.1"):
        with pytest.raises(Failure):
            judge(other, HERE)


@pytest.mark.parametrize(
    "host",
    [
        *["2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1"],
        *["127.0.0.1.", "0x7f.0.0.1.", "1.2.3.4.5", "256.1.1.1", "example.0x7f", "0x"],
        *["127.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "[::1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]"],
    ],
)
@pytest.mark.parametrize("port", ["", ":22"])
def test_an_address_is_refused_in_every_notation(host, port):
    with pytest.raises(Failure, match="refused_address"):
        parse(f"http://{host}{port}/x.jpg", ())


def test_an_address_in_disguise_is_refused_even_if_the_plain_one_is_allowed():
    parse("http://127.0.0.1/", HERE)
    with pytest.raises(Failure, match="in disguise"):
        parse("http://2130706433/", HERE)


@pytest.mark.parametrize(
    "url",
    [
        *[None, 7, "", "  ", "x.jpg", "//host/x.jpg", "file:///etc/passwd", "ftp://host/x"],
        *["data:image/png;base64,AAAA", "javascript:alert(1)", "gopher://host/", "http://"],
        *["http:///x.jpg", "http://h:99999/", "http://h:0/", "http://[::", "http://h\\@b/"],
        "http://host/" + "x" * 8000,
    ],
)
def test_what_is_no_web_address_is_a_bad_url(url):
    with pytest.raises(Failure, match="bad_url"):
        parse(url, ())


def test_a_url_cannot_smuggle_lines_into_the_request():
    url = parse("http://host/a\r\nX-Evil: 1\n/b", ())
    assert "\r" not in str(url)
    assert "\n" not in str(url)


class Answers(AbstractResolver):
    """A resolver that answers what it is given, in turn, as a rebinding name server would."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        family = socket.AF_INET
        shared = {"hostname": host, "port": port, "family": family, "proto": 0, "flags": 0}
        return [{**shared, "host": address} for address in found]

    async def close(self):
        pass


def resolved(*addresses: str) -> list[str]:
    resolver = JudgedResolver(Answers(list(addresses)), ())
    return [answer["host"] for answer in asyncio.run(resolver.resolve("host", 80))]


def test_a_private_answer_among_public_ones_is_left_out():
    assert resolved("10.0.0.1", "1.1.1.1", "127.0.0.1") == ["1.1.1.1"]


def test_a_name_with_private_answers_alone_is_refused():
    with pytest.raises(Failure, match="refused_address"):
        resolved("10.0.0.1", "169.254.169.254")


def fetched(url: str, resolver: AbstractResolver, allow=HERE, **fields) -> bytes:
    config = DownloadConfig(timeout=2, backoff=0, **fields)

    async def run() -> bytes:
        async with session(config, allow, resolver) as client:
            return await download(url, client, hosts(), config, allow)

    return asyncio.run(run())


def test_a_name_is_fetched_from_the_address_that_was_judged(web):
    resolver = Answers(["127.0.0.1"])
    assert fetched(f"http://pictures.test:{web.port}/image/3", resolver)
    assert web.requests[0].headers["host"] == f"pictures.test:{web.port}"
    assert resolver.asked == 1


def test_a_name_that_points_to_a_neighbour_is_refused_and_the_neighbour_sees_nothing(web):
    with pytest.raises(Failure, match=r"refused_address: 127\.0\.0\.2 is loopback"):
        fetched(f"http://pictures.test:{web.port}/image/3", Answers(["127.0.0.2"]))
    assert not web.requests


def test_a_name_that_is_rebound_between_requests_is_refused_at_the_second(web):
    resolver = Answers(["127.0.0.1"], ["127.0.0.2"])
    web.routes["/hop"] = web.routes["/to-image"]

    async def run() -> None:
        config = DownloadConfig(timeout=2, retries=0)
        async with session(config, HERE, resolver) as client:
            url = f"http://pictures.test:{web.port}/image/3"
            assert await download(url, client, hosts(), config, HERE)
            client.connector.clear_dns_cache()  # its time to live, ten seconds, is over
            await download(url, client, hosts(), config, HERE)

    with pytest.raises(Failure, match="refused_address"):
        asyncio.run(run())
    assert {request.address for request in web.requests} == {"127.0.0.1"}


def test_the_socket_itself_refuses_what_slipped_past_the_resolver(web):
    """Behind a resolver that judges nothing, as if a check had been forgotten."""

    async def run(allow) -> int:
        connector = aiohttp.TCPConnector(
            resolver=Answers(["127.0.0.2"]), socket_factory=judged_socket(allow)
        )
        url = f"http://pictures.test:{web.port}/image/3"
        async with aiohttp.ClientSession(connector=connector) as client, client.get(url) as answer:
            return answer.status

    with pytest.raises(Failure, match="refused_address"):
        asyncio.run(run(HERE))
    assert not web.requests
    assert asyncio.run(run([ip_network("127.0.0.2")])) == 200


def test_a_name_without_an_address_is_an_unknown_host():
    class Nothing(Answers):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            self.asked += 1
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

    resolver = Nothing()
    with pytest.raises(Failure, match="unknown_host"):
        fetched("http://nowhere.test/x.jpg", resolver, retries=3)
    assert resolver.asked == 1
