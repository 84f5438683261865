"""The share of a forward pass's operations that fusion takes, by hand, and that every comparison is made."""

import pytest

from benchmarks.studies import fusion_speed


def test_operations_and_rows(capsys: pytest.CaptureFixture[str]) -> None:
    fusion_speed.main(["--size=32", "--images=2", "--labels=3", "--repeats=1"])
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [name.strip() for name, _, _ in rows] == [
        "operations forward", "forward", "training step, all", "training step, fused",
    ]  # fmt: skip
    # ResNet-18 at 32 pixels: maps of 16, 8, 4, 2 and 1 pixels with 64, 64, 128, 256 and 512 channels
    stem, last = 16**2 * 49 * 3 * 64, 512 * 3
    stages = [(8, 64, 64), (4, 64, 128), (2, 128, 256), (1, 256, 512)]
    bare = stem + last + sum(s**2 * 9 * (c_in * c + 3 * c * c) + s**2 * c_in * c * (c_in != c) for s, c_in, c in stages)
    fusion = sum(s**2 * (9 * c_in * c_in + c_in * c) for s, c_in, c in stages)
    assert float(rows[0][1]) == pytest.approx(bare / (bare + fusion), abs=6e-4)
    assert all(float(ratio) > 0 for _, ratio, _ in rows)
