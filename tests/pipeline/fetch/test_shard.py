"""One shard: what came is in the tar, what did not is in the sidecar, nothing is lost."""

import hashlib
import io
import json
import tarfile
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from pipeline.fetch import plan
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.shard import Spool, write_shard
from pipeline.format.errors import HeadraceError
from pipeline.format.images import OUT_OF_MEMORY
from pipeline.pool import webdataset as pool
from tests.pipeline import dying
from tests.pipeline.fetch.fetching import config, listed, sidecar
from tests.pipeline.fetch.server import BIG, JPEG, Web, hosts, http, sends
from tests.pipeline.making import png


def write(checked: FetchConfig, number: int = 0, **polite: Any) -> None:
    work = plan.missing(checked, plan.slices(checked))
    write_shard(work[number], checked, hosts(**{"at_once": 8} | polite))


def members(folder, number: int = 0) -> dict[str, bytes]:
    with tarfile.open(folder / "pool" / f"{number:08d}.tar") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def stats(folder, number: int = 0) -> dict[str, Any]:
    return json.loads((folder / "pool" / f"{number:08d}_stats.json").read_text())


def test_a_shard_is_shaped_as_img2dataset_writes_it(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg"), web.url("/missing"), web.url("/image/3")])
    begin = time.time()
    write(config(tmp_path))
    found = members(tmp_path)
    assert list(found) == [
        *["000000000000.jpg", "000000000000.json", "000000000000.txt"],
        *["000000000002.json", "000000000002.png", "000000000002.txt"],
    ]
    assert found["000000000000.jpg"] == JPEG
    assert found["000000000002.png"] == png(3)
    assert found["000000000002.txt"] == b"picture 2"
    meta = json.loads(found["000000000000.json"])
    assert meta == {
        "url": web.url("/jpeg"),
        "caption": "picture 0",
        "uid": hashlib.sha256(f"{web.url('/jpeg')}\npicture 0".encode()).hexdigest()[:32],
        "key": "000000000000",
        "status": "success",
        "error_message": None,
        "width": 96,
        "height": 72,
        "original_width": 96,
        "original_height": 72,
        "exif": None,
        "sha256": hashlib.sha256(JPEG).hexdigest(),
    }
    rows = sidecar(tmp_path)
    assert rows[0] == meta
    assert (rows[1]["status"], rows[1]["error_message"]) == (
        "failed_to_download",
        "http_404: Not Found",
    )
    told = stats(tmp_path)
    assert begin <= told.pop("start_time") <= told.pop("end_time") <= time.time()
    assert told.pop("duration") > 0
    assert told == {
        "count": 3,
        "successes": 2,
        "failed_to_download": 1,
        "failed_to_resize": 0,
        "status_dict": {"success": 2, "http_404": 1},
    }


def test_the_pool_and_a_stock_reader_read_it(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg"), web.url("/broken"), web.url("/image/3")])
    write(config(tmp_path))
    tar = tmp_path / "pool" / "00000000.tar"
    images = list(pool.read(pool.parts(str(tar))[0], 10**9))
    assert [image.image for image in images] == [JPEG, png(3)]
    assert [image.caption for image in images] == ["picture 0", "picture 2"]
    assert [image.uid for image in images] == [image.meta["uid"] for image in images]
    stock = list(webdataset.WebDataset(str(tar), shardshuffle=False))
    assert [sample["__key__"] for sample in stock] == ["000000000000", "000000000002"]


def test_what_is_no_image_fails_to_resize_with_its_reason(web, tmp_path):
    paths = ["/page", "/empty", "/half-image", "/big"]
    web.routes["/half-image"] = web.routes["/half-jpeg"]
    listed(tmp_path, [web.url(path) for path in paths])
    write(config(tmp_path, shards={"max_pixels": 100_000}))
    rows = sidecar(tmp_path)
    assert {row["status"] for row in rows} == {"failed_to_resize"}
    kinds = [row["error_message"].partition(":")[0] for row in rows]
    assert kinds == ["not_an_image", "empty", "decode_failed", "too_many_pixels"]
    assert members(tmp_path) == {}
    assert list(pool.read(pool.parts(str(tmp_path / "pool" / "00000000.tar"))[0], 10**9)) == []


def test_images_that_kill_their_decoder_are_rows_and_all_others_are_kept(web, tmp_path, deadly):
    ends = {1: "SIGSEGV", 2: "EXIT", 4: "SIGABRT", 6: "SIGKILL"}
    web.routes |= {f"/{how}": sends(http(dying.image(how))) for how in ends.values()}
    paths = [f"/{ends[n]}" if n in ends else f"/image/{n}" for n in range(8)]
    listed(tmp_path, [web.url(path) for path in paths])
    write(config(tmp_path))
    rows = sidecar(tmp_path)
    assert {n: row["error_message"] for n, row in enumerate(rows) if row["error_message"]} == {
        1: "decoder_died: signal SIGSEGV",
        2: "decoder_died: exit code 3",
        4: "decoder_died: signal SIGABRT",
        6: OUT_OF_MEMORY,
    }
    assert {rows[n]["status"] for n in ends} == {"failed_to_resize"}
    kept = {name: data for name, data in members(tmp_path).items() if name.endswith(".png")}
    assert kept == {f"{n:012d}.png": png(n) for n in range(8) if n not in ends}
    assert stats(tmp_path)["status_dict"] == {
        "success": 4,
        "decoder_died": 3,
        "decoder_out_of_memory": 1,
    }
    assert [web.asked(path) for path in paths] == [1] * 8


@pytest.mark.parametrize("field", ["url", "caption"])
def test_a_row_without_a_url_or_caption_is_a_row(web, tmp_path, field):
    columns = {"url": [web.url("/jpeg"), web.url("/jpeg")], "caption": ["a", "b"]}
    columns[field][1] = None
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    write(config(tmp_path))
    row = sidecar(tmp_path)[1]
    assert row["error_message"] == ("bad_url: empty" if field == "url" else None)
    if field == "caption":
        assert members(tmp_path)["000000000001.txt"] == b""


def test_other_columns_are_carried_and_those_that_are_measured_give_way(web, tmp_path):
    uid = "0123456789abcdef" * 2
    columns = {
        "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]], []],
        "clip_l14_similarity_score": pa.array([0.25, None], pa.float32()),
        "uid": [uid.upper(), "not a uid"],
        "sha256": ["0" * 64, "0" * 64],
        "width": ["wide", "wide"],
    }
    listed(tmp_path, [web.url("/jpeg"), web.url("/missing")], **columns)
    write(config(tmp_path))
    meta = json.loads(members(tmp_path)["000000000000.json"])
    assert meta["face_bboxes"] == [[0.1, 0.2, 0.3, 0.4]]
    assert meta["clip_l14_similarity_score"] == 0.25
    assert meta["uid"] == uid
    assert meta["sha256"] == hashlib.sha256(JPEG).hexdigest()
    schema = pq.read_schema(tmp_path / "pool" / "00000000.parquet")
    assert schema.field("clip_l14_similarity_score").type == pa.float32()
    assert schema.field("width").type == pa.int32()
    assert len(set(schema.names)) == len(schema.names)
    assert len(sidecar(tmp_path)[1]["uid"]) == 32


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array([2**63 + 5, None], pa.uint64()),
        pa.array([{"a": [1]}, None]),
        pa.array([1.5, None], pa.float16()),
        pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
        pa.array(["a", "b"], pa.large_string()),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_every_kind_that_a_list_may_have_are_carried(web, tmp_path, column):
    listed(tmp_path, [web.url("/jpeg"), web.url("/missing")], extra=column)
    write(config(tmp_path))
    assert [row["extra"] for row in sidecar(tmp_path)] == column.to_pylist()


def test_larger_images_are_shrunk_where_the_config_says_so(web, tmp_path):
    listed(tmp_path, [web.url("/big"), web.url("/jpeg")])
    write(config(tmp_path, shards={"resize": 512}))
    found, rows = members(tmp_path), sidecar(tmp_path)
    assert Image.open(io.BytesIO(found["000000000000.jpg"])).size == (512, 341)
    assert found["000000000001.jpg"] == JPEG
    assert (rows[0]["width"], rows[0]["original_width"]) == (512, 900)
    assert rows[0]["sha256"] == hashlib.sha256(BIG).hexdigest()


def test_credentials_are_used_but_not_recorded(web, tmp_path):
    secret = "hunter2"
    plain = web.url("/jpeg")
    urls = [plain.replace("://", f"://me:{secret}@"), f"{plain}?a=1&X-Amz-Signature={secret}"]
    urls += [web.url("/missing") + f"?token={secret}", plain]
    listed(tmp_path, urls, page=[f"http://u:{secret}@host/"] * 4)
    write(config(tmp_path))
    written = b"".join(path.read_bytes() for path in (tmp_path / "pool").iterdir())
    assert secret.encode() not in written
    rows = sidecar(tmp_path)
    assert secret not in str(rows)
    assert [row["url"] for row in rows] == [plain, f"{plain}?a=1", web.url("/missing"), plain]
    for row in rows:  # a uid that followed from a secret would let it be guessed
        text = f"{row['url']}\n{row['caption']}"
        assert row["uid"] == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert sum("authorization" in request.headers for request in web.requests) == 1


def test_keys_have_the_digits_that_a_large_shard_needs():
    def checked(rows: int) -> int:
        fields = {"pool": "p", "list": {"url": "l"}, "shards": {"rows": rows}}
        return FetchConfig.model_validate(fields).digits

    assert [checked(rows) for rows in (1, 100, 10_000, 10_001, 100_000)] == [4, 4, 4, 5, 5]


def test_the_order_in_which_answers_come_changes_nothing(web, tmp_path):
    listed(tmp_path, [web.url(f"/image/{n}") for n in range(12)])
    made = []
    for at_once in (1, 12):
        web.routes["/image"] = web.routes["/slow-image"]
        download = {"timeout": 5, "at_once": at_once}
        pool_folder = tmp_path / f"pool-{at_once}"
        write(config(tmp_path, pool=str(pool_folder), download=download))
        made.append([(pool_folder / f"00000000.{e}").read_bytes() for e in ("tar", "parquet")])
    assert made[0] == made[1]


def test_the_server_sees_no_more_requests_than_allowed(web, tmp_path):
    web.routes["/image"] = web.routes["/slow-image"]
    listed(tmp_path, [web.url(f"/image/{n}") for n in range(20)])
    write(config(tmp_path), at_once=3)
    assert 1 < web.peak <= 3
    assert web.asked("/image/7") == 1


def test_requests_to_a_host_are_as_far_apart_as_the_config_says(web, tmp_path):
    listed(tmp_path, [web.url(f"/image/{n}") for n in range(5)])
    write(config(tmp_path), delay=0.1)
    times = sorted(request.at for request in web.requests)
    assert times[-1] - times[0] > 0.38


def test_a_neighbour_in_the_list_is_a_row_and_sees_nothing(web: Web, tmp_path):
    listed(tmp_path, [web.url("/jpeg", "127.0.0.2"), "file:///etc/passwd", web.url("/jpeg")])
    write(config(tmp_path))
    assert [row["error_message"] for row in sidecar(tmp_path)] == [
        "refused_address: 127.0.0.2 is loopback",
        "bad_url: the scheme is file, not http or https",
        None,
    ]
    assert len(web.requests) == 1


def test_a_disk_without_room_stops_the_shard_and_says_so(web, tmp_path, monkeypatch):
    listed(tmp_path, [web.url("/jpeg"), web.url("/image/1")])
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr("pipeline.fetch.shard.Spool", lambda: Spool(full))
        with pytest.raises(HeadraceError, match="No space left"):
            write(config(tmp_path))
    assert not list((tmp_path / "pool").glob("*_stats.json"))
