"""Storage backends and where credentials come from."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from jobs.looks.finding import (
    SET_UP,
    Finding,
    import_or_finding,
)


def look_at_storage() -> Iterator[Finding]:
    """Local files and S3, and where S3's credentials come from (never what they are)."""
    fsspec = import_or_finding("fsspec")
    if isinstance(fsspec, Finding):
        yield fsspec
        return
    fsspec.get_filesystem_class("file")
    yield Finding("storage", "ok", f"fsspec {fsspec.__version__}: files")
    s3fs = import_or_finding("s3fs")
    if isinstance(s3fs, Finding):
        yield Finding("storage", "problem", f"s3:// does not work: {s3fs.what}", SET_UP)
        return
    yield Finding("storage", "ok", f"s3fs {s3fs.__version__}: s3://")
    yield _s3_credentials()


def _s3_credentials() -> Finding:
    source = _credentials_source()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    at = f", endpoint {_without_userinfo(endpoint)}" if endpoint else ""
    if source:
        return Finding("storage", "ok", f"S3 credentials from {source}{at}")
    return Finding(
        "storage",
        "note",
        f"no S3 credentials found{at}",
        "for s3://: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, "
        "or a role of the instance or pod",
    )


def _credentials_source() -> str:
    """Where credentials are to be had, asking no server (so an instance's role is not seen)."""
    env = os.environ
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        return "the environment (AWS_ACCESS_KEY_ID)"
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"
    if env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or env.get(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    ):
        return "the container's role"
    for variable, default in (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AWS_CONFIG_FILE", "~/.aws/config"),
    ):
        path = Path(env.get(variable, default)).expanduser()
        if path.is_file():
            return f"{path} (profile {env.get('AWS_PROFILE', 'default')})"
    return ""


def _without_userinfo(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
