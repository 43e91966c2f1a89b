"""Processes that begin at once: forked from one that has imported everything, and has no threads."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

COMMANDS = ("main", "explaining", "rendering", "running", "scanning", "atlas", "training")


def processes() -> ForkServerContext:
    """A worker of pytest has one such server: what the first test asks it to import is there for all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "tapetum.atlas.build", *(f"tapetum.cli.{name}" for name in COMMANDS)])
    return context
