"""`tapetum studio`: serves the page until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import say
from tapetum.studios.networks import Given
from tapetum.studios.serve import Server


def serve_studio(
    *,
    model: ModelChoice | None,
    also: Sequence[str],
    atlas: Path | None,
    reports: Sequence[Path],
    host: str,
    port: int,
    address: str | None,
    embedders: Sequence[str],
) -> None:
    """Prints the page's address and answers until it is stopped."""
    choices = [*([] if model is None else [model]), *map(ModelChoice, also)]
    given = {choice.name: _given(choice) for choice in choices}
    with Server(given, host=host, port=port, atlas=atlas, reports=reports, address=address, embedders=embedders) as server:
        for name in given:
            server.studio.networks.model(name)  # a wrong name is told now, and not to a visitor
        server.studio.warm()
        say(server.address)
        sys.stdout.flush()
        server.run()


def _given(choice: ModelChoice) -> Given:
    weights = "" if choice.weights is None else f", weights={choice.weights!r}"
    words = ("--model", choice.name, *(("--weights", choice.weights) if choice.weights else ()), *choice.words)
    return Given(choice.load, None if choice.settings else f"tp.load({choice.name!r}{weights})", words)
