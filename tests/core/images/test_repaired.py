"""The table of a repair: names and digests that can be read and copied, on 100 columns."""

from __future__ import annotations

import pytest

from airflow_batchstream.core.images.repaired import WIDTH, Part, Repair, table

WAS, IS = (f"sha256:{digit * 64}" for digit in "ab")
NAME = "us-docker.pkg.dev/acme/batch/train"


def repaired(source: str, target: str = f"{NAME}:1.4-r1", notes: tuple[str, ...] = ()) -> Repair:
    pinned = f"{target.rsplit(':', 1)[0]}@{IS}"
    return Repair(source, WAS, target, IS, pinned, (Part("linux/amd64", WAS, IS, 3),), notes=notes, written=True)


class TestTheTable:
    def test_says_a_tag_and_what_it_stood_for(self) -> None:
        assert table(repaired(f"{NAME}:1.4"))[:3] == [
            f"Source     {NAME}:1.4",
            f"Digest     {WAS}",
            f"Target     {NAME}:1.4-r1",
        ]

    def test_says_a_digest_once_and_in_one_piece(self) -> None:
        assert table(repaired(f"{NAME}@{WAS}"))[:3] == [
            f"Source     {NAME}",
            f"           @{WAS}",
            f"Target     {NAME}:1.4-r1",
        ]

    def test_ends_with_the_name_to_run(self) -> None:
        assert table(repaired(f"{NAME}:1.4"))[-3:] == ["Result     repaired", f"Run        {NAME}", f"           @{IS}"]

    @pytest.mark.parametrize("name", ["us-docker.pkg.dev/" + "long-name/" * 20 + "image", "ü" * 300, "image" * 50])
    def test_fits_its_columns_whatever_a_name_or_a_note_is(self, name: str) -> None:
        lines = table(repaired(f"{name}@{WAS}", f"{name}:{'t' * 128}", notes=(f"{name} is left out.\n\x1b[2J",)))
        assert max(map(len, lines)) <= WIDTH
        assert all(line.isprintable() for line in lines)
