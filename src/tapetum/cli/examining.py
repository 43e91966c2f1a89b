"""`tapetum doctor MODEL [IMAGE...]` and `tapetum near-classes MODEL CLASS [IMAGE...]`: print what was found on a model."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tapetum.cli.batches import listed_refusals, opened
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, say
from tapetum.families.health.doctor import doctor
from tapetum.families.nearness import near_classes
from tapetum.progress import watching
from tapetum.types.text import table


def examine(*, model: ModelChoice, images: Sequence[str], as_json: bool) -> int:
    """Examines a model on all readable images; returns exit status 0 if it is healthy, 1 if not or an image was refused.

    The status is 2 if images were named and none can be read.
    """
    network, files, refused = opened(model, images)
    if images and not files:
        return 2
    with bar("doctor") as watcher, watching(watcher):
        found = doctor(network, files or None)
    if as_json:
        about = {"model": found.model, "images": files, "healthy": found.healthy, "checks": found.checks}
        rest = {"left_out": found.left_out, "refused": listed_refusals(refused)}
        say(json.dumps({**about, "findings": [one._asdict() for one in found.findings], **rest}, indent=1))
    else:
        say(str(found))
    return 0 if found.healthy and not refused else 1


def list_near(*, model: ModelChoice, of: str, images: Sequence[str], k: int) -> int:
    """Prints the k classes nearest to one; returns exit status 0, 1 if an image was refused, 2 if none can be read."""
    network, files, refused = opened(model, images)
    if images and not files:
        return 2
    found = near_classes(network, int(of) if of.isdecimal() else of, k, files or None)
    say(table(("class", "label", "likeness"), [(str(one.index), one.label or "", f"{one.likeness:.2f}") for one in found]))
    return 1 if refused else 0
