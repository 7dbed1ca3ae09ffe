"""Hosts of URLs, as hostile as the web writes them."""

import pyarrow as pa
import pytest

from pipeline.decide.domains import domains, hosts


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/a.jpg", "example.com"),
        ("HTTP://Example.COM:8080/a", "example.com"),
        ("http://example.com", "example.com"),
        ("http://example.com.?q", "example.com"),
        ("http://user:pass@example.com/", "example.com"),
        ("http://a@b@example.com/", "example.com"),
        ("http://evil.com\\@good.com/", "evil.com"),
        ("http://example.com#@good.com", "example.com"),
        ("http://example.com?@good.com", "example.com"),
        ("  http://example.com/", "example.com"),
        ("http://münchen.de/", "xn--mnchen-3ya.de"),
        ("http://XN--MNCHEN-3YA.de/", "xn--mnchen-3ya.de"),
        ("http://a\u3002example\u3002com/", "a.example.com"),
        ("http://[2001:DB8::1]:80/a", "[2001:db8::1]"),
        (f"http://{'ü' * 80}.de/", f"{'ü' * 80}.de"),
        ("http://a..b/", "a..b"),
        ("file:///pool/a.jpg", None),
        ("http:///a", None),
        ("http://./", None),
        ("example.com/a.jpg", None),
        ("", None),
        (None, None),
    ],
)
def test_the_host_of_a_url(url, host):
    assert hosts(pa.chunked_array([[url]], pa.string())).to_pylist() == [host]


def test_hosts_stay_in_their_rows():
    urls = pa.chunked_array([["http://a/", None], [], ["http://b/", "http://a/1"]], pa.string())
    assert hosts(urls).to_pylist() == ["a", None, "b", "a"]
    assert hosts(pa.chunked_array([[]], pa.string())).to_pylist() == []


def test_a_domain_is_the_host_without_www():
    urls = ["https://www.example.com/", "https://wwwx.com/", "http://www./", "http://a.www.b/"]
    found = domains(pa.chunked_array([urls]))
    assert found.to_pylist() == ["example.com", "wwwx.com", "www", "a.www.b"]
