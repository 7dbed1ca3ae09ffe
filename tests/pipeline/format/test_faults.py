"""What a store's failure is told as: worth another try, or the user's to mend, and no secret."""

import errno
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore import exceptions as botocore

from pipeline.format import faults, sending, store, writing
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.patience import Patience

SIGNED = "/signed.tar?X-Amz-Credential=AKIAKEY&X-Amz-Signature=hunter2"


class Web(BaseHTTPRequestHandler):
    """Answers the status that a path names; moves `/moved.tar` to a signed URL that fails."""

    def do_GET(self) -> None:
        """HEAD and PUT are the same."""
        name = self.path[1:4]
        self.send_response(302 if name == "mov" else int(name) if name.isdigit() else 503)
        if name == "mov":
            self.send_header("Location", SIGNED)
        if name != "200":
            self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *args) -> None:
        """Nothing to the console."""


@pytest.fixture(scope="module")
def web():
    """The URL of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("use", [store.stat, store.read_bytes])
def test_a_missing_file_on_the_web_is_final(web, status, use):
    with pytest.raises(HeadraceError, match=r"\.tar: no such file; check the path") as caught:
        use(f"{web}/{status}.tar")
    assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("use", [store.stat, store.read_bytes])
def test_a_busy_web_server_is_worth_another_try(web, use):
    with pytest.raises(Unavailable, match=r"503\.tar: the store cannot be read: 503"):
        use(f"{web}/503.tar")


def test_whether_a_file_is_on_the_web_is_known_only_from_a_server_that_says_so(web):
    assert store.exists(f"{web}/200.tar")
    assert not store.exists(f"{web}/404.tar")
    with pytest.raises(Unavailable, match=r"503\.tar: the store cannot be read: 503"):
        store.exists(f"{web}/503.tar")
    with pytest.raises(HeadraceError, match=r"403\.tar: reading is not allowed"):
        store.exists(f"{web}/403.tar")


def test_a_web_server_that_is_away_is_worth_another_try():
    with pytest.raises(Unavailable, match=r"a\.tar: the store cannot be read: "):
        store.stat("http://127.0.0.1:9/a.tar")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("use", [store.stat, store.read_bytes])
def test_a_web_server_that_refuses_is_told_as_that(web, status, use):
    with pytest.raises(HeadraceError, match="reading is not allowed; check the cred") as caught:
        use(f"{web}/{status}.tar")
    assert not isinstance(caught.value, Unavailable)


def test_a_web_server_that_tells_no_size_is_told_with_the_way_out(web):
    with pytest.raises(HeadraceError, match=r"200\.tar: the store does not tell its size; copy it"):
        store.stat(f"{web}/200.tar")


def publish(url: str) -> None:
    writing.publish(url, b"1")


@pytest.mark.parametrize("use", [store.stat, store.read_bytes, publish])
def test_the_signature_of_a_url_that_one_is_sent_to_is_never_repeated(web, use, monkeypatch):
    monkeypatch.setattr(sending, "patience", lambda: Patience(0.01, 0.01, 0.01, stall=0.1))
    with pytest.raises(HeadraceError, match=r"moved\.tar: .*503") as caught:
        use(f"{web}/moved.tar")
    assert "signed.tar" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (botocore.ProfileNotFound(profile="typo"), "profile .typo. could not be found"),
        (botocore.ConfigParseError(path="/c", error="x"), "Unable to parse config file: /c"),
        (botocore.ParamValidationError(report="Invalid bucket"), "failed: Invalid bucket"),
        (botocore.UnauthorizedSSOTokenError(), "SSO session"),
        (botocore.SSOTokenLoadError(error_msg="gone"), "Error loading SSO Token: gone"),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)), "File name too long"),
        (OSError(errno.ELOOP, os.strerror(errno.ELOOP)), "symbolic links"),
    ],
)
def test_what_waiting_does_not_mend_is_final_and_one_line(error, words):
    with (
        pytest.raises(HeadraceError, match=f"s3://b/a: the store cannot be read: .*{words}") as it,
        store.reading("s3://b/a"),
    ):
        raise error
    assert not isinstance(it.value, Unavailable)
    assert "\n" not in str(it.value)


def test_what_a_store_wraps_in_an_error_of_values_is_told_too():
    with pytest.raises(HeadraceError, match="Invalid bucket") as caught, store.reading("s3://b/a"):
        raise ValueError("s3fs") from botocore.ParamValidationError(report="Invalid bucket")
    assert not isinstance(caught.value, Unavailable)


def test_a_store_that_gives_no_words_is_told_by_its_code():
    answer = {"Error": {"Code": "SlowDown", "Message": None}}
    error = OSError(errno.EBUSY, None)  # what s3fs makes of it
    error.__cause__ = botocore.ClientError(answer, "PutObject")
    read, written = faults.failure("s3://b/a", error), faults.refusal("s3://b/a", error, "written")
    assert str(read) == "s3://b/a: the store cannot be read: SlowDown"
    assert str(written) == "s3://b/a: not written: SlowDown"
    assert isinstance(read, Unavailable)
    assert isinstance(written, Unavailable)


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(HeadraceError, match="no name holds a NUL"):
        store.stat("/tmp/a\0b.tar")


def test_a_link_to_itself_and_a_name_without_end_are_final(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    for name in ("a", "b" * 300):
        with pytest.raises(HeadraceError) as caught:
            store.read_bytes(f"{tmp_path}/{name}")
        assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize(
    "name", ["ETag", "etag", "mtime", "LastModified", "Last-Modified", "blob_id"]
)
def test_whatever_a_store_tells_of_a_version_is_used(name):
    assert store.stat_of("x://a", {"size": 1, "ETag": None, name: "v1"}).etag == "v1"
