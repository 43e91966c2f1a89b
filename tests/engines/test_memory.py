"""Batches fit the memory of the container, at the size of the images that are given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tapetum as tp
from tapetum.engines import batching
from tapetum.engines.batching import USUAL, batch_size
from tapetum.engines.memory import container_bytes, free_bytes, machine_bytes

GIB = 2**30


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_limits_of_all_groups_around_count_in_version_2(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/mine\n",
            "sys/fs/cgroup/pods/mine/memory.max": "max\n",
            "sys/fs/cgroup/pods/mine/memory.current": f"{GIB}\n",
            "sys/fs/cgroup/pods/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/pods/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/pods/memory.stat": f"anon 7\ninactive_file {GIB}\n",
        },
    )
    assert list(container_bytes(root)) == [2 * GIB]


def test_the_limit_of_version_1_counts(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",  # a container sees its own group as the root
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}\n",
        },
    )
    assert list(container_bytes(root)) == [1.5 * GIB]


def test_no_groups_no_limit(tmp_path: Path) -> None:
    assert list(container_bytes(tmp_path)) == []
    root = written(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    1024 kB\n", "proc/self/cgroup": "0::/\n"})
    assert (machine_bytes(root), list(container_bytes(root))) == (2**20, [])
    assert 0 < free_bytes(torch.device("cpu")) <= machine_bytes()


def test_a_batch_is_estimated_at_the_size_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution to 8 channels and a ReLU of float32: 64 bytes a pixel. 40 % of the memory are for them."""
    monkeypatch.setattr(batching, "free_bytes", lambda _: 200 * 64 * 64 * 64)
    model = tp.wrap(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=64)
    assert batch_size(model, "auto") == USUAL
    with model.pinned(torch.zeros(1, 3, 256, 128)):  # 8 times as many pixels: 80 images of 64 x 64 are 10
        assert batch_size(model, "auto") == 9  # the pooled vector takes a few bytes, too
        assert batch_size(model, "auto", gradients=True) == 4
    assert batch_size(model, "auto") == USUAL


@pytest.mark.parametrize(("side", "n"), [(64, 16), (512, 10), (1024, 4)])
def test_large_layers_get_smaller_batches_but_never_fewer_than_four_images(
    side: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two channels of float32 are 8 bytes a pixel; the largest block is 20 MiB, ten images of 512 x 512."""
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    model = tp.wrap(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=side)
    assert batch_size(model, "auto") == n
    assert batch_size(model, "auto", gradients=True) == USUAL // 2
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(1 << 30))  # as after `keep_large_blocks`
    assert batch_size(model, "auto") == USUAL


def test_who_keeps_large_blocks_says_so_to_child_processes() -> None:
    says = "'MALLOC_MMAP_THRESHOLD_' in os.environ"
    code = f"import os; from tapetum.runners import keep_large_blocks; print(keep_large_blocks() == ({says}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]  # on Linux with glibc both, elsewhere neither
