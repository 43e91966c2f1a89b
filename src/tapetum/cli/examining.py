"""`tapetum doctor MODEL [IMAGE...]`: examines a model and prints what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tapetum.cli.batches import images_of, listed_refusals, readable
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, say
from tapetum.families.health.doctor import doctor
from tapetum.progress import watching


def examine(*, model: ModelChoice, images: Sequence[str], as_json: bool) -> int:
    """Examines a model on all readable images; returns exit status 0 if it is healthy, 1 if not or an image was refused.

    The status is 2 if images were named and none can be read.
    """
    files, refused = images_of(images)
    network = model.load()

    files, unread = readable(files, network.preprocessing)
    refused += unread
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
