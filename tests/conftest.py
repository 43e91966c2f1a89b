"""Puts this folder on the path, so that every test can `from zoo import ...`, and keeps torch to one thread."""

from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)  # tiny networks: a second thread costs more than it brings, and sums keep one order


@pytest.fixture(autouse=True)
def _one_thread_before_and_after() -> Iterator[None]:
    """A test that leaves another number of threads behind changes the last bits of all that follow, so it fails."""
    yield
    found = torch.get_num_threads()
    torch.set_num_threads(1)
    assert found == 1, f"torch computes with {found} threads after this test"
