"""Settings of the whole process are as before once the last of several blocks that overlap has ended, in whatever order."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import torch
from PIL import ImageFile
from torch.utils import checkpoint

from tapetum.data.pillow import strict_pillow
from tapetum.engines.unfused import unfused_attention
from tapetum.models.checkpointing import uncheckpointed
from tapetum.switches import Switch, during, ignoring

BLOCKS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "all warnings": ignoring,
    "some warnings": lambda: ignoring("old", FutureWarning),
    "pillow": strict_pillow,
    "attention": unfused_attention,
    "checkpoints": uncheckpointed,
}


def settings() -> tuple[Any, ...]:
    """What the blocks change; the list of filters is the same object, since others may hold it."""
    fused = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()
    names = "CheckpointFunction", "_checkpoint_without_reentrant_generator_impl", "_checkpoint_without_reentrant_generator"
    functions = [getattr(checkpoint, name, None) for name in names]
    return id(warnings.filters), list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES, fused, functions


@pytest.mark.parametrize(("one", "other"), [*itertools.product(BLOCKS, repeat=2)])
def test_blocks_of_two_threads_that_overlap_leave_nothing_changed(one: str, other: str) -> None:
    before = settings()
    first, second = BLOCKS[one](), BLOCKS[other]()
    first.__enter__()
    _elsewhere(second.__enter__)
    first.__exit__(None, None, None)
    assert settings() != before  # the other still needs its own
    _elsewhere(lambda: second.__exit__(None, None, None))
    assert settings() == before


def _elsewhere(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_switch_is_turned_while_anybody_needs_it_and_not_if_it_cannot_be() -> None:
    said: list[str] = []
    fails = False

    @Switch
    @contextmanager
    def switch() -> Iterator[None]:
        if fails:
            raise OSError("cannot")
        said.append("on")
        yield
        said.append("off")

    one, other = switch(), switch()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert (said, switch.here) == (["on"], True)
    elsewhere: list[bool] = []
    with switch():
        _elsewhere(lambda: elsewhere.append(switch.here))
        assert (switch.here, elsewhere) == (True, [False])
    other.__exit__(None, None, None)
    with pytest.raises(ValueError, match="inside"), switch():
        raise ValueError("inside")
    fails = True
    with pytest.raises(OSError, match="cannot"), switch():
        raise AssertionError
    fails = False
    with switch():
        assert said == ["on", "off", "on", "off", "on"]
    assert said[-1] == "off"


def test_warnings_are_ignored_by_their_words_and_kinds() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with ignoring("old", UserWarning):
            for words, kind in (("old and gone", UserWarning), ("new", UserWarning), ("old", FutureWarning)):
                warnings.warn(words, kind, stacklevel=1)
    assert [str(one.message) for one in seen] == ["new", "old"]


def test_a_context_variable_has_its_value_inside_the_block_alone() -> None:
    variable = ContextVar("variable", default=0)
    found: list[int] = []
    with during(variable, 1) as value:
        _elsewhere(lambda: found.append(variable.get()))
        found += [value, variable.get()]
    with pytest.raises(ValueError, match="inside"), during(variable, 2):
        raise ValueError("inside")
    assert (found, variable.get()) == ([0, 1, 1], 0)
