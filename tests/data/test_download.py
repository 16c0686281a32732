"""A server that hangs up, knows no ranges, or sends another file."""

import pytest

from senas_bench.data.download import ATTEMPTS, BLOCK, fetch

BODY = bytes(range(256)) * 4096  # a mebibyte


@pytest.mark.parametrize("cuts", [[], [0], [43 * BLOCK], [43 * BLOCK + 9, 2 * BLOCK]])
def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, web, cuts):
    archive = web.publish(BODY)
    web.cuts = list(cuts)
    assert fetch(archive, tmp_path).read_bytes() == BODY
    have = [sum(cut // BLOCK * BLOCK for cut in cuts[:tries]) for tries in range(len(cuts) + 1)]
    assert web.asked == [f"bytes={start}-" if start else None for start in have]
    assert [path.name for path in tmp_path.iterdir()] == ["some.tar.gz"]
    assert fetch(archive, tmp_path).read_bytes() == BODY and len(web.asked) == len(have)


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (BODY[:1000], ["bytes=1000-"]),
        (BODY, [f"bytes={len(BODY)}-"]),
        (BODY + b"x", [f"bytes={len(BODY) + 1}-", None]),  # of another file
        (b"y" * 1000, ["bytes=1000-", None]),
    ],
)
def test_a_killed_transfer_is_taken_up_or_begun_anew(tmp_path, web, left, asked):
    (tmp_path / "some.tar.gz.part").write_bytes(left)
    assert fetch(web.publish(BODY), tmp_path).read_bytes() == BODY
    assert web.asked == asked


def test_a_server_that_knows_no_ranges_sends_all_again(tmp_path, web):
    archive = web.publish(BODY)
    web.ranges, web.cuts = False, [50 * BLOCK]
    assert fetch(archive, tmp_path).read_bytes() == BODY
    assert web.asked == [None, f"bytes={50 * BLOCK}-"]


def test_a_server_that_never_gets_through_leaves_what_came(tmp_path, web):
    archive = web.publish(BODY)
    web.cuts = [5 * BLOCK] * ATTEMPTS
    with pytest.raises(OSError):
        fetch(archive, tmp_path)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"some.tar.gz.part": 5 * BLOCK * ATTEMPTS}
    assert fetch(archive, tmp_path).read_bytes() == BODY
