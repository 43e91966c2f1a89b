"""The Python and the command line that give the same numbers as a run of the studio."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tapetum.border.texts import FLAGS
from tapetum.studios.asking import Asked, MapBody, RunBody, as_target
from tapetum.studios.networks import Given
from tapetum.studios.pictures import Picture


def python_of(asked: Asked, source: Given, labels: Sequence[str] | None) -> str:
    """Returns a script that makes the result again."""
    body, lines = asked.body, ["import tapetum as tp", ""]
    if any(one.sample for one in asked.pictures):
        lines[:1] = ["import skimage", "import tapetum as tp"]
    lines.append(f"model = {source.python}" if source.python else "# model: the one that the studio was opened with")
    files = ", ".join(map(_python_file, asked.pictures))
    if asked.pictures and asked.method.takes != "pictures":
        lines.append(f"images = model.preprocess([{files}])")
    subject = {
        "units": repr([as_target(one, labels) for one in body.units]), "pictures": f"[{files}]", "model": None,
    }.get(asked.method.takes, "images")  # fmt: skip
    if asked.maps:
        made = ", ".join(_call(one.method, "images", one, labels) for one in body.maps)
        subject = f"images, [{made}]" if asked.method.kind == "verdict" else f"images, {made}"
    return "\n".join([*lines, f"result = {_call(body.method, subject, body, labels)}", "print(result)", ""])


def _call(name: str, subject: str | None, body: RunBody | MapBody, labels: Sequence[str] | None) -> str:
    target = [] if body.target is None else [f"target={as_target(body.target, labels)!r}"]
    keywords = [f"{key}={_python_value(value)}" for key, value in body.parameters.items()]
    return f"tp.{name}({', '.join(['model', *([subject] if subject else []), *target, *keywords])})"


def _python_value(value: Any) -> str:
    return '"STYLE.png"' if hasattr(value, "picture") else repr(value)


def _python_file(one: Picture) -> str:
    return f'f"{{skimage.data_dir}}/{one.name}"' if one.sample else repr(one.name)


def command_of(asked: Asked, source: Given) -> str | None:
    """Returns a command line; None where only Python can ask for it."""
    body, kind = asked.body, asked.method.kind
    if source.words is None:
        return None
    files = [_shell_file(one) for one in asked.pictures]
    options = [*map(shlex.quote, source.words), *([] if body.target is None else ["--target", shlex.quote(body.target)])]
    if kind == "verdict":
        return _verdicts(asked, files, options)
    if kind == "metric":
        return _metric(asked, files, options)
    words = ["tapetum", "predict"] if kind == "prediction" else ["tapetum", "run", body.method]
    subject = [shlex.quote(one) for one in body.units] if asked.method.takes == "units" else files
    return " ".join([*words, *subject, *options, *_options(body.parameters)])


def _verdicts(asked: Asked, files: Sequence[str], options: Sequence[str]) -> str | None:
    maps = asked.body.maps
    targets = {one.target for one in maps}
    if any(one.parameters for one in maps) or len(targets) > 1 or asked.body.parameters:
        return None
    target = [] if targets == {None} else ["--target", shlex.quote(str(maps[0].target))]
    return " ".join(["tapetum", "explain", *files, "--methods", ",".join(one.method for one in maps), *target, *options])


def _metric(asked: Asked, files: Sequence[str], options: Sequence[str]) -> str | None:
    one = asked.body.maps[0]
    if one.parameters:
        return None
    target = [] if one.target is None else ["--target", shlex.quote(one.target)]
    name = asked.body.method
    settings = [
        word for key, value in asked.body.parameters.items() for word in ("--set", shlex.quote(f"{name}.{key}={value}"))
    ]
    return " ".join(["tapetum", "evaluate", one.method, *files, "--metrics", name, *settings, *target, *options])


def _options(parameters: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for key, value in parameters.items():
        flag = FLAGS.get(key, (f"--{key.replace('_', '-')}",))[0]
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words += [flag, "STYLE.png" if hasattr(value, "picture") else shlex.quote(str(value))]
    return words


def _shell_file(one: Picture) -> str:
    if not one.sample:
        return shlex.quote(f"./{one.name}" if one.name.startswith("-") else one.name)
    return f"\"$(python -c 'import skimage; print(skimage.data_dir)')/{one.name}\""
