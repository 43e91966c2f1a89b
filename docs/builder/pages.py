"""Pages of the reference as markdown, from the registry, the docstrings and the command line."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import markup
import typer
from bibtex import Reference

import tapetum
from tapetum.cli.generated import COMMANDS, HELP, RunGroup, every_command
from tapetum.cli.main import app
from tapetum.cli.makers.methods import MAKERS
from tapetum.cli.options import HIDDEN
from tapetum.families.metrics.curves import EVIDENCE
from tapetum.registry import Parameter, parameters
from tapetum.types import Method

QUESTIONS = {
    "looks_for": "Looks for: what would this unit like to see?",
    "found": "Found: what did it find in this image?",
    "mattered": "Mattered: what made this prediction?",
    "trust": "Trust: does the explanation hold?",
}
LAWS = {
    "class_sensitive": "two classes have two different maps",
    "linear_exact": "on a linear model the values are the closed form",
    "dummy": "what the model ignores gets nothing",
    "complete": "the values sum to score(image) - score(baseline), as far as the quadrature is exact",
    "at_image": "asks for the score of the images alone: left to choose the class, it reads it off the same pass",
    "linear_in_score": "the map of a contrast is the difference of the two classes' maps",
    "map_of_layer": "the values have the layer's own grid",
    "positive_layer": "takes activation for evidence: left to choose, it goes on to a layer that is never negative",
    "pooled_layer": "reads the map that the head pools: left to choose, it goes on to the last layer of that grid",
    "target_free": "never asks for the score: every class has the same map",
    "class_only": "explains a class and nothing else: it compares it with similar ones",
    "forward_only": "needs no gradient, so it also explains a model that has none",
    "sampled": "random: the same seed gives the same values, another seed another sample",
    "live": "whoever watches sees the map while it is made",
    "separate": "each picture depends on its own unit alone: on a CPU a batch gives what single runs give, to the last bit",
    "baseline": "never looks at the weights: it is there to be beaten",
}
"""Each law that a method can declare; tests/laws checks it on every network of the test zoo that it applies to."""

UNITS = '"blocks.3.0:0-15"'
"""Units in examples of the command line."""

Cited = Mapping[str, Reference]


def method_page(method: Method, cited: Cited, pictures: str = "") -> str:
    """Page of a method: summary, formula, pictures if any, calls, parameters, laws, reference."""
    doc = method.function.__doc__ or ""
    reference = cited[method.cite].markdown() if method.cite else "No paper: a baseline or a plain measurement."
    family = f"[{method.family}](/reference/families/{method.family}.md)"
    formula = "\n\n".join(markup.block(text, cited) for text in markup.paragraphs(doc)[1:])
    parts = {
        "Formula": markup.directive("container", "formula", formula),
        "Picture": pictures,
        "Call": f"{markup.directive('py:function', _call(method))}\n\n{markup.fenced(markup.example(doc), 'python')}",
        "Command line": _command_line(method),
        "Parameters": _parameters(method, cited),
        "Laws": _law_words(method),
        "Reference": reference,
    }
    sections = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items() if text)
    return f"""# {method.name}

{markup.directive("container", "lead", markup.inline(method.summary, cited))}

{markup.directive("container", "muted", f"{QUESTIONS[method.question]} · family {family} · {method.kind}")}

{sections}
"""


COMMON_LAWS = {
    "rendering": "leaves the model untouched, gives the same pictures for the same seed, and a status to each picture",
    "attribution": "keeps type and device, leaves the model untouched, and gives a batch what its images get alone",
    "inspection": "leaves the model untouched, gives the same answer twice, can be saved, drawn and printed",
}


def _law_words(method: Method) -> str:
    laws = "\n".join(f"* `{law}`: {markup.escaped(LAWS.get(law, ''))}" for law in sorted(method.laws))
    if method.kind not in COMMON_LAWS:
        return laws or "It declares none."
    common = f"Every {method.kind} {COMMON_LAWS[method.kind]}."
    return f"{common} This one also declares:\n\n{laws}" if laws else common


def _call(method: Method) -> str:
    result = {"attribution": "Attribution", "rendering": "Rendering"}.get(method.kind)
    signature = inspect.signature(method.function)
    return markup.call(f"tapetum.{method.name}", signature.replace(return_annotation=result or signature.return_annotation))


def _command_line(method: Method) -> str:
    if method.kind == "attribution":
        options = _own_options(method)
        return markup.fenced(
            f"tapetum run {method.name} photo.jpg{options} --out maps\n"
            f"tapetum explain photo.jpg --methods {method.name} --out report"
        )
    if method.kind == "inspection":
        subject = "" if method.takes == "model" else " photo.jpg"
        return markup.fenced(f"tapetum run {method.name}{subject}{_own_options(method)} --out figures")
    if method.kind == "rendering":
        name = next((name for name, one in COMMANDS.items() if one.function == method.name), f"run {method.name}")
        subject = UNITS if method.takes == "units" else "photo.jpg"
        return markup.fenced(f"tapetum {name} {subject} --out pictures\ntapetum reproduce pictures/NAME.png")
    if method.name in EVIDENCE:
        return (
            markup.fenced("tapetum explain photo.jpg --out report") + "\n\nThe report of `explain` measures it for every map."
        )
    name = next((name for name, one in COMMANDS.items() if one.function == method.name), None)
    return markup.fenced(f"tapetum {name} --help") if name else ""


def _own_options(method: Method) -> str:
    """First two keywords of a method with their defaults, as options."""
    own = [p for p in parameters(method) if p.name not in (*HIDDEN, "batch") and _is_option(p.default)][:2]
    return "".join(f" --{p.name.replace('_', '-')}{'' if p.default is True else f' {p.default}'}" for p in own)


def _is_option(default: Any) -> bool:
    return isinstance(default, int | float | str) and default is not False


def _parameters(method: Method, cited: Cited) -> str:
    found = parameters(method)
    if not found:
        return "None."
    head = ("name", "type", "range", "default", "meaning")
    return markup.table(head, (_row(parameter, cited) for parameter in found))


def _row(parameter: Parameter, cited: Cited) -> tuple[str, ...]:
    limits = "" if parameter.range is None else f"{parameter.range.low:g} to {parameter.range.high:g}"
    return (
        f"`{parameter.name}`",
        f"`{markup.type_words(parameter.type)}`",
        limits,
        "required" if parameter.default is inspect.Parameter.empty else f"`{markup.default_words(parameter.default)}`",
        markup.inline(parameter.help, cited),
    )


def family_page(name: str, cited: Cited) -> str:
    """Page of a family: its docstring and its methods."""
    methods = tapetum.methods(family=name)
    home = methods[0].function.__module__
    doc = importlib.import_module(f"tapetum.families.{name}" if home.startswith("tapetum.families.") else home).__doc__ or ""
    text = "\n\n".join(markup.block(block, cited) for block in markup.paragraphs(doc))
    own = toctree([f"/reference/methods/{method.name}" for method in methods], hidden=True)
    return f"# {name}\n\n{text}\n\n{_method_table(methods, cited)}\n\n{own}\n"


def _method_table(methods: Any, cited: Cited) -> str:
    rows = (
        (
            f"[`{method.name}`](/reference/methods/{method.name}.md)",
            markup.inline(method.summary, cited),
            markup.inline(method.cite or "", cited),
        )
        for method in methods
    )
    return markup.table(("method", "what its picture shows", "reference"), rows)


def methods_page(cited: Cited) -> str:
    """Page of all methods by question, and the families."""
    names = dict.fromkeys(method.question for method in tapetum.methods())
    parts = []
    for question in (name for name in QUESTIONS if name in names):
        methods = [method for method in tapetum.methods() if method.question == question]
        parts.append(f"## {QUESTIONS[question]}\n\n{_method_table(methods, cited)}")
    text = "\n\n".join(parts)
    return f"""# Methods

Every method is called the same way, `tp.NAME(model, images, target=None, ...)`, and each has a page with its formula, its
parameters, its reference and the laws that tests hold it to.

{text}

## Families

{toctree([f"families/{name}" for name in family_names()])}
"""


def family_names() -> list[str]:
    return list(dict.fromkeys(method.family for method in tapetum.methods()))


def toctree(pages: Sequence[str], *, hidden: bool = False, caption: str = "", depth: int = 1) -> str:
    options = {"maxdepth": str(depth)} | ({"hidden": ""} if hidden else {}) | ({"caption": caption} if caption else {})
    return markup.directive("toctree", "", "\n" + "\n".join(pages), options)


# --- Python reference


def python_page(cited: Cited) -> str:
    """Page of all public names with signature and docstring; methods have their own pages."""
    names = {name: getattr(tapetum, name) for name in vars(tapetum)["__all__"]}
    functions = {name: one for name, one in names.items() if not inspect.isclass(one) and not inspect.ismodule(one)}
    classes = {name: one for name, one in names.items() if inspect.isclass(one)}
    registered = {method.name for method in tapetum.methods()}
    plain = "\n\n".join(_function(name, one, cited) for name, one in functions.items() if name not in registered)
    kinds = "\n\n".join(_class(name, one, cited) for name, one in classes.items())
    return f"""# Python

After `import tapetum as tp`. Methods are functions too, `tp.grad_cam(...)` and so on: [their pages](/reference/methods.md).

## Functions

{plain}

## Types

{kinds}

## Modules

Parts of renderings: `tp.objectives`, `tp.parametrizations`, `tp.transforms`; see
[what a picture can be made for](/explanation/objectives.md).
"""


def _function(name: str, function: Any, cited: Cited) -> str:
    signature = markup.call(f"tapetum.{name}", inspect.signature(function), types=True)
    return f"### {name}\n\n{markup.directive('py:function', signature, _doc(function, cited))}"


def _doc(thing: Any, cited: Cited) -> str:
    text = inspect.getdoc(thing) or ""
    blocks = [markup.block(block, cited) for block in markup.paragraphs(text)]
    example = markup.example(text)
    return "\n\n".join(filter(None, [*blocks, markup.arguments(text), markup.fenced(example, "python") if example else ""]))


def _class(name: str, kind: type, cited: Cited) -> str:
    fields = ""
    if dataclasses.is_dataclass(kind):
        lines = [f"{f.name}: {markup.type_words(f.type)}" for f in dataclasses.fields(kind)]
        fields = markup.fenced("\n".join(lines), "python") if lines else ""
    own = [(key, value) for key, value in vars(kind).items() if _is_shown(key, value)]
    members = "\n\n".join(_member(name, key, value) for key, value in own)
    body = "\n\n".join(filter(None, [_doc(kind, cited), fields, members]))
    return f"### {name}\n\n{markup.directive('py:class', f'tapetum.{name}', body)}"


def _is_shown(name: str, value: Any) -> bool:
    bare = value.__func__ if isinstance(value, classmethod) else value
    return not name.startswith("_") and (inspect.isfunction(bare) or isinstance(bare, property)) and bool(bare.__doc__)


def _member(owner: str, name: str, value: Any) -> str:
    bare = value.__func__ if isinstance(value, classmethod) else value
    first = markup.inline(" ".join(markup.paragraphs(bare.__doc__ or "")[0].split()))
    if isinstance(bare, property):
        return markup.directive("py:property", f"tapetum.{owner}.{name}", first)
    signature = markup.call(f"tapetum.{owner}.{name}", _without_self(bare), types=True)
    return markup.directive("py:method", signature, first)


def _without_self(function: Any) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


# --- command line


def cli_page() -> str:
    """Page of all commands with their options by Typer."""
    commands = every_command(typer.main.get_command(app))
    text = "\n\n".join(_command(name, command) for name, command in commands if not name.startswith("run "))
    return f"""# Command line

`tapetum`, also `python -m tapetum`. Exit status: 0 done; 1 done, but some inputs were refused (each is named); 2 wrong use,
or nothing could be done. An error is one line (`--debug`: all of it).

{text}

{_run_commands()}
"""


def _command(name: str, command: Any) -> str:
    arguments = " ".join(p.metavar or p.name.upper() for p in command.params if not p.opts[0].startswith("-"))
    line = f"tapetum {name} {arguments} [options]".replace("  ", " ")
    return f"## {name}\n\n{markup.inline(command.help)}\n\n{markup.fenced(line)}\n\n{_options(command.params)}"


def _options(params: Any) -> str:
    shown = [p for p in params if "--help" not in p.opts]
    return markup.table(("option", "default", "meaning"), map(_option, shown)) if shown else ""


def _option(param: Any) -> tuple[str, str, str]:
    name = "/".join([*param.opts, *param.secondary_opts])
    name = name if name.startswith("-") else param.metavar or name.upper()
    shown = {"None": "", "True": "on", "False": "off"}.get(str(param.default), str(param.default))
    return f"`{name}`", f"`{shown}`" if shown else "", markup.inline(param.help or "")


def _run_commands() -> str:
    parts = [_run_table(kind) for kind in MAKERS if tapetum.methods(kind=kind)]
    return "\n\n".join(["## run", markup.inline(HELP), markup.fenced("tapetum run METHOD IMAGE... [options]"), *parts])


RUN = {
    "attribution": "Maps of what mattered in an image.",
    "inspection": "One figure of what layers hold or found, and the same in words.",
    "rendering": "Pictures, of units or of images; some have a command of their own above.",
}


def _run_table(kind: str) -> str:
    """Options that all methods of a kind share, and those of each."""
    group = RunGroup(name="run")
    commands = {method.name: group.get_command(None, method.name) for method in tapetum.methods(kind=kind)}
    shared = set.intersection(*({p.name for p in command.params} for command in commands.values()))
    first = next(iter(commands.values()))
    rows = (
        (
            f"[`tapetum run {name}`](/reference/methods/{name}.md)",
            " ".join(f"`{p.opts[0]}`" for p in command.params if p.name not in shared and p.name != "help"),
        )
        for name, command in commands.items()
    )
    table = markup.table(("command", "its own options"), rows)
    return f"""### {kind}s

{RUN[kind]}

{_options([p for p in first.params if p.name in shared])}

Each method adds its own parameters, read from its signature:

{table}"""


def references_page(cited: Cited) -> str:
    """Page of the bibliography; each key is a link target."""
    items = "\n\n".join(f"({key})=\n{reference.markdown()}" for key, reference in cited.items())
    return f"# References\n\n{items}\n"
