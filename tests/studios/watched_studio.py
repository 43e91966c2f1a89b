"""Runs a studio and asks it with texts that name files and addresses; prints what of them Python's audit hooks saw.

Run by test_studio_paths.py in a process of its own, since a hook cannot be taken away again: python watched_studio.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from asking import Client, a_studio

CANARY, MISSING = "qq-1-qq", "qq-2-qq"  # equally far from all names of methods
SEEN: list[tuple[str, str]] = []
WATCHED = ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo", "import", "urllib.Request", "glob.glob")


def hook(event: str, args: tuple[Any, ...]) -> None:
    if event in WATCHED:
        SEEN.append((event, " ".join(map(str, args))))


def names(folder: Path) -> list[tuple[str, str]]:
    """Pairs of a text that names something that is there, and the same for something that is not."""
    forms = [
        "{}",
        "gan:{}",
        "GAN:{}",
        " gan:{}",
        "fourier,gan:{}",
        "file://{}",
        "hf:{}",
        "{}:build",
        "~{}",
        "\\\\host\\{}",
        "./{}",
        "{}\0",
    ]
    there, gone = folder / CANARY, folder / MISSING
    pairs = [
        (form.format(there.name + end), form.format(gone.name + end)) for form in forms for end in (".png", ".py", ".pt", "")
    ]
    pairs += [(form.format(f"{there}.png"), form.format(f"{gone}.png")) for form in forms]
    return [
        *pairs,
        (f"http://127.0.0.1:9/{CANARY}.png", f"http://127.0.0.1:9/{MISSING}.png"),
        (f"HTTPS://{CANARY}.org", f"HTTPS://{MISSING}.org"),
    ]


def questions(client: Client, pairs: list[tuple[str, str]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """A question with each kind of text in each place that takes a text, once for what is there, once for what is not."""
    sample, asked = client.sample(), []
    turn = 0
    for method in client.http.get("api/methods").json():
        body: dict[str, Any] = {"model": "tiny", "method": method["name"], "parameters": {}}
        if method["takes"] == "units":
            body["units"] = ["3:5"]
        elif method["takes"] != "model":
            body["pictures"] = [sample]
        if method["kind"] in ("metric", "verdict"):
            body["maps"] = [{"method": "saliency"}]
        texts = [one["name"] for one in method["parameters"] if one["type"] in ("text", "choice", "picture")]
        small = {
            one["name"]: max(2, one["low"])
            for one in method["parameters"]
            if one["name"] in ("n_steps", "n_samples", "n_masks")
        }
        for place in (*texts, *(("target",) if method["target"] else ()), *(("units",) if "units" in body else ())):
            every = (method["name"], place) == ("visualize", "parametrization")
            some = pairs if every else [pairs[(7 * turn) % len(pairs)]]  # the next form in the next place
            turn += 1
            for pair in some:
                asked.append(tuple(filled(body, place, small, text) for text in pair))
    for pair in pairs:
        asked.append(tuple({"model": text, "method": "predict", "pictures": [sample]} for text in pair))
        asked.append(tuple({"model": "tiny", "method": text, "pictures": [sample]} for text in pair))
        asked.append(tuple({"model": "tiny", "weights": text, "method": "predict", "pictures": [sample]} for text in pair))
        asked.append(tuple({"model": "tiny", "method": "predict", "pictures": [text]} for text in pair))
    return asked


def filled(body: dict[str, Any], place: str, small: dict[str, Any], text: str) -> dict[str, Any]:
    if place == "units":
        return {**body, "parameters": small, "units": [text]}
    if place == "target":
        return {**body, "parameters": small, "target": text}
    return {**body, "parameters": {**small, place: text}}


def main(folder: Path) -> None:
    differing, statuses = [], []
    with a_studio() as server:
        client = Client(server)
        client.run(method="predict", pictures=[client.sample()])
        asked = questions(client, names(folder))
        sys.addaudithook(hook)
        for there, gone in asked:
            one, other = (client.http.post("api/run", json=body) for body in (there, gone))
            statuses += [one.status_code, other.status_code]
            if (one.status_code, one.text.replace(CANARY, MISSING)) != (
                other.status_code,
                other.text,
            ) and one.status_code != 200:
                differing.append([there, one.text[:300], other.text[:300]])
    seen = [(event, text[:300]) for event, text in SEEN if CANARY in text or MISSING in text or str(folder) in text]
    network = [(event, text) for event, text in SEEN if event.startswith(("socket", "urllib")) and f"{server.port}" not in text]
    told = {"asked": len(asked), "differing": differing, "seen": seen, "network": network, "statuses": sorted(set(statuses))}
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
