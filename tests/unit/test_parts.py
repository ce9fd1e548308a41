"""How files are cut into parts, within what S3 takes (Contract: rest-v1 §8.1)."""

from __future__ import annotations

from hashlib import md5

import pytest

from firecrest.model.staging import Cut, StagedPart, checksum_of_parts
from firecrest.model.tasks import Kind, Status, Task
from firecrest.workflows import sending

MIB = 1 << 20
WANTED = 64 * MIB


@pytest.mark.parametrize(
    ("size", "part_size", "count"),
    [
        (0, WANTED, 0),
        (1, WANTED, 1),
        (WANTED, WANTED, 1),
        (WANTED + 1, WANTED, 2),
        (10_000 * WANTED, WANTED, 10_000),
        (10_000 * WANTED + 1, 65 * MIB, 9847),
        (5 << 40, 525 * MIB, 9987),
    ],
)
def test_parts_grow_with_the_file(size: int, part_size: int, count: int) -> None:
    cut = Cut.of(size, WANTED)
    assert (cut.part_size, cut.count) == (part_size, count)
    parts = cut.missing({})
    assert [part.number for part in parts] == list(range(1, count + 1))
    assert sum(part.size for part in parts) == size
    ends = [0, *(part.offset + part.size for part in parts)]
    assert [part.offset for part in parts] == ends[:-1]


@pytest.mark.parametrize(("size", "pause"), [(100 * MIB, 0.2), (50_000 * MIB, 20)])
def test_of_many_parts_it_is_asked_less_often_how_many_have_arrived(size: int, pause: int) -> None:
    message = {"upload_id": "u", "size": size, "part_size": MIB if pause < 1 else 5 * MIB}
    task = Task(
        id="0" * 32,
        user="alice",
        kind=Kind.UPLOAD,
        system="cluster",
        status=Status.FORM_READY,
        version=1,
        data={"source": "f", "msg": message},
    )
    assert sending.pause(task) == pause


def test_a_part_of_another_size_is_missing() -> None:
    cut = Cut(25, 10)
    there = {number: StagedPart(10, "tag", "") for number in (1, 3, 9)}
    assert [part.number for part in cut.missing(there)] == [2, 3]
    assert cut.missing({n: StagedPart(s, "tag", "") for n, s in ((1, 10), (2, 10), (3, 5))}) == []


def test_the_checksum_of_parts_is_that_of_their_checksums() -> None:
    sums = [md5(part, usedforsecurity=False) for part in (b"one", b"two")]
    expected = md5(b"".join(part.digest() for part in sums), usedforsecurity=False).hexdigest()
    assert checksum_of_parts("".join(part.hexdigest() for part in sums)) == f"{expected}-2"
