"""The pages of the site, each a function from the registry, the docstrings or the command line to HTML."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import markup
import typer
from bibtex import Reference

import tapetum
from tapetum.cli.generated import COMMANDS, HELP, rendering_command, run_group
from tapetum.cli.main import app
from tapetum.cli.options import HIDDEN
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
    "forward_only": "needs no gradient, so it also explains a model that has none",
    "sampled": "random: the same seed gives the same values, another seed another sample",
    "separate": "each picture depends on its own unit alone: a batch gives what single runs give, to the last bit",
    "baseline": "never looks at the weights: it is there to be beaten",
}
"""Each law that a method can declare; tests/laws checks it on every network of the test zoo that it applies to."""

UNITS = '"blocks.3.0:0-15"'
"""What stands for units in examples of the command line."""

Cited = Mapping[str, Reference]


def method_page(method: Method, cited: Cited, pictures: str = "") -> str:
    """Summary, formula, pictures where they were made, how to call it, parameters, laws, reference."""
    doc = method.function.__doc__ or ""
    reference = cited[method.cite].html() if method.cite else "No paper: a baseline or a plain measurement."
    family = f'<a href="../families/{method.family}.html">{method.family}</a>'
    formula = "".join(markup.block(text, cited, "../") for text in markup.paragraphs(doc)[1:])
    laws = "".join(f"<li><code>{law}</code>: {escape(LAWS.get(law, ''))}</li>" for law in sorted(method.laws))
    return f"""<h1>{method.name}</h1>
<p class="lead">{markup.inline(method.summary, cited, "../")}</p>
<p class="muted">{escape(QUESTIONS[method.question])} · family {family} · {method.kind}</p>
<h2>Formula</h2>
<div class="formula">{formula}</div>
{pictures}
<h2>Call</h2>
{markup.code(_call(method))}
{markup.code(markup.example(doc))}
<h2>Command line</h2>
{_command_line(method)}
<h2>Parameters</h2>
{_parameters(method, cited)}
<h2>Laws</h2>
{_law_words(method)}
<ul>{laws}</ul>
<h2>Reference</h2>
<p>{reference}</p>"""


def _law_words(method: Method) -> str:
    if method.kind == "rendering":
        common = "leaves the model untouched, gives the same pictures for the same seed, and a status to each picture"
        return f'<p class="muted">Every rendering {common}.{" This one also declares:" if method.laws else ""}</p>'
    if method.kind != "attribution":
        return '<p class="muted">It declares none.</p>' if not method.laws else ""
    common = "keeps type and device, leaves the model untouched, and gives a batch what its images get alone"
    return f'<p class="muted">Every attribution {common}.{" This one also declares:" if method.laws else ""}</p>'


def _call(method: Method) -> str:
    result = {"attribution": "Attribution", "metric": "Evaluation", "rendering": "Rendering"}.get(method.kind)
    signature = inspect.signature(method.function)
    shown = signature.replace(return_annotation=result or signature.return_annotation)
    return markup.call(f"tp.{method.name}", shown)


def _command_line(method: Method) -> str:
    if method.kind == "attribution":
        own = [p for p in parameters(method) if p.name not in (*HIDDEN, "batch") and p.default is not None][:2]
        options = "".join(f" --{p.name.replace('_', '-')}{'' if p.default is True else f' {p.default}'}" for p in own)
        return markup.code(
            f"tapetum run {method.name} photo.jpg{options} --out maps\n"
            f"tapetum explain photo.jpg --methods {method.name} --out report"
        )
    if method.kind == "rendering":
        name = next((name for name, (one, _) in COMMANDS.items() if one == method.name), f"run {method.name}")
        subject = UNITS if method.takes == "units" else "photo.jpg"
        return markup.code(f"tapetum {name} {subject} --out pictures\ntapetum reproduce pictures/NAME.png")
    what = "measures it for every map" if method.kind == "metric" else "shows it for three depths"
    return markup.code("tapetum explain photo.jpg --out report") + f"<p>The report of <code>explain</code> {what}.</p>"


def _parameters(method: Method, cited: Cited) -> str:
    found = parameters(method)
    if not found:
        return "<p>None.</p>"
    head = ("name", "type", "range", "default", "meaning")
    return markup.table(head, (_row(parameter, cited) for parameter in found))


def _row(parameter: Parameter, cited: Cited) -> tuple[str, ...]:
    limits = "" if parameter.range is None else f"{parameter.range.low:g} to {parameter.range.high:g}"
    return (
        f"<code>{parameter.name}</code>",
        f"<code>{escape(markup.type_words(parameter.type), quote=False)}</code>",
        limits,
        _default(parameter),
        markup.inline(parameter.help, cited, "../"),
    )


def _default(parameter: Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return f"<code>{escape(markup.default_words(parameter.default), quote=False)}</code>"


def family_page(name: str, cited: Cited) -> str:
    """A family's own docstring and its methods side by side."""
    doc = importlib.import_module(f"tapetum.families.{name}").__doc__ or ""
    text = "".join(markup.block(block, cited, "../") for block in markup.paragraphs(doc))
    return f"<h1>{name}</h1>{text}{_method_table(tapetum.methods(family=name), cited, '../')}"


def _method_table(methods: Any, cited: Cited, up: str = "") -> str:
    rows = (
        (
            f'<a href="{up}methods/{method.name}.html"><code>{method.name}</code></a>',
            markup.inline(method.summary, cited, up),
            markup.inline(method.cite or "", cited, up),
        )
        for method in methods
    )
    return markup.table(("method", "what its picture shows", "reference"), rows)


def index_page(cited: Cited, *, gallery: bool, made: bool = False) -> str:
    """What it is, how to start, every method by its question."""
    doc = markup.paragraphs(tapetum.__doc__ or "")
    lead = doc[0].partition(": ")[2]
    picture = (
        '<img src="images/strip.webp" alt="A photograph of a cat, the part of it that the model saw, and the three '
        'best maps of the predicted class over it, each with its measured faithfulness beside that of the baselines.">'
    )
    names = dict.fromkeys(method.question for method in tapetum.methods())
    parts = []
    for question in (name for name in QUESTIONS if name in names):
        methods = [method for method in tapetum.methods() if method.question == question]
        parts.append(f"<h2>{escape(QUESTIONS[question])}</h2>{_method_table(methods, cited)}")
    families = ", ".join(f'<a href="families/{name}.html">{name}</a>' for name in family_names())
    more = ' · <a href="gallery.html">gallery</a>' if gallery else ""
    more += ' · <a href="pictures.html">pictures</a>' if made else ""
    return f"""<h1>tapetum</h1>
<p class="lead">{escape(lead[0].upper() + lead[1:])}</p>
{picture}
<h2>Start</h2>
{markup.code("tapetum demo" + chr(10) + "tapetum explain photo.jpg --out report")}
{"".join(markup.block(text) for text in doc[1:2])}
<p>New here: <a href="choosing.html">how to choose a method and read the evidence</a>,
<a href="targets.html">what can be explained</a>,
<a href="objectives.html">what a picture can be made for</a>,
<a href="scanning.html">what a scan of a data set keeps</a>,
<a href="scale.html">how it runs on many machines</a>,
<a href="atlas.html">an atlas of a network</a>, and <a href="limits.html">what a map cannot tell</a>.</p>
{"".join(parts)}
<p class="muted">Families: {families} · <a href="changelog.html">changelog</a>{more}</p>"""


def family_names() -> list[str]:
    return list(dict.fromkeys(method.family for method in tapetum.methods()))


# --- Python reference


def reference_page() -> str:
    """Every public name with its signature and docstring; the methods have pages of their own."""
    names = {name: getattr(tapetum, name) for name in tapetum.__all__}
    functions = {name: one for name, one in names.items() if not inspect.isclass(one)}
    classes = {name: one for name, one in names.items() if inspect.isclass(one)}
    return f"""<h1>Python reference</h1>
<p>After <code>import tapetum as tp</code>. Methods are functions too: <code>tp.grad_cam(...)</code> and so on, listed
on the <a href="index.html">first page</a>.</p>
<h2>Functions</h2>{"".join(_function(name, one) for name, one in functions.items())}
<h2>Types</h2>{"".join(_class(name, one) for name, one in classes.items())}"""


def _function(name: str, function: Any) -> str:
    signature = markup.call(f"tp.{name}", inspect.signature(function), types=True)
    return f'<h3 id="{name}">{name}</h3>{markup.code(signature)}{_doc(function)}'


def _doc(thing: Any) -> str:
    text = inspect.getdoc(thing) or ""
    blocks = "".join(markup.block(block) for block in markup.paragraphs(text))
    return blocks + markup.arguments(text)


def _class(name: str, kind: type) -> str:
    fields = ""
    if dataclasses.is_dataclass(kind):
        lines = [f"{f.name}: {markup.type_words(f.type)}" for f in dataclasses.fields(kind)]
        fields = markup.code("\n".join(lines))
    own = [(key, value) for key, value in vars(kind).items() if _is_shown(key, value)]
    members = "".join(_member(key, value) for key, value in own)
    return f'<h3 id="{name}">{name}</h3>{_doc(kind)}{fields}{f"<dl>{members}</dl>" if members else ""}'


def _is_shown(name: str, value: Any) -> bool:
    bare = value.__func__ if isinstance(value, classmethod) else value
    return not name.startswith("_") and (inspect.isfunction(bare) or isinstance(bare, property)) and bool(bare.__doc__)


def _member(name: str, value: Any) -> str:
    bare = value.__func__ if isinstance(value, classmethod) else value
    head = name if isinstance(bare, property) else markup.call(f".{name}", _without_self(bare), types=True)
    first = markup.paragraphs(bare.__doc__ or "")[0]
    return f"<dt><code>{escape(head.lstrip('.'))}</code></dt><dd>{markup.inline(' '.join(first.split()))}</dd>"


def _without_self(function: Any) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


# --- command line


def cli_page() -> str:
    """Every command with the options that Typer knows of it."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    plain = "".join(_command(name, command) for name, command in _single(commands) if name != "run")
    there = {method.name for method in tapetum.methods(kind="rendering")}
    plain += "".join(_command(name, rendering_command(name)) for name, (method, _) in COMMANDS.items() if method in there)
    return f"""<h1>Command line</h1>
<p><code>tapetum</code>, also <code>python -m tapetum</code>. Exit status: 0 done; 1 done, but some inputs were refused
(each is named); 2 wrong use, or nothing could be done. An error is one line
(<code class="whole">--debug</code>: all of it).</p>
{plain}{_run_commands()}"""


def _single(commands: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every command; those of a group (`atlas build`) under both names."""
    for name, command in commands.items():
        inner = getattr(command, "commands", {})
        yield from ((f"{name} {one}", command) for one, command in inner.items()) if inner else [(name, command)]


def _command(name: str, command: Any) -> str:
    arguments = " ".join(p.metavar or p.name.upper() for p in command.params if not p.opts[0].startswith("-"))
    line = f"tapetum {name} {arguments} [options]".replace("  ", " ")
    head = f'<h2 id="{name.replace(" ", "-")}">{name}</h2><p>{markup.inline(command.help)}</p>'
    return head + markup.code(line) + _options(command.params)


def _options(params: Any) -> str:
    shown = [p for p in params if "--help" not in p.opts]
    return markup.table(("option", "default", "meaning"), map(_option, shown)) if shown else ""


def _option(param: Any) -> tuple[str, str, str]:
    name = "/".join([*param.opts, *param.secondary_opts])
    name = name if name.startswith("-") else param.metavar or name.upper()
    shown = {"None": "", "True": "on", "False": "off"}.get(str(param.default), str(param.default))
    default = f"<code>{escape(shown)}</code>" if shown else ""
    return f"<code>{escape(name)}</code>", default, markup.inline(param.help or "")


def _run_commands() -> str:
    tables = "".join(_run_table(kind, words) for kind, words in RUN.items())
    return f"""<h2 id="run">run</h2><p>{markup.inline(HELP)}</p>
{markup.code("tapetum run METHOD IMAGE... [options]")}
{tables}"""


RUN = {
    "attribution": "Maps of what mattered in an image.",
    "rendering": "Pictures, of units or of images; some have a command of their own above.",
}


def _run_table(kind: str, words: str) -> str:
    """The options that all methods of a kind share, and those of each."""
    commands: Any = typer.main.get_command(run_group(kind))
    commands = getattr(commands, "commands", {commands.name: commands})  # a single one is no group
    shared = set.intersection(*({p.name for p in command.params} for command in commands.values()))
    first = next(iter(commands.values()))
    rows = (
        (
            f'<a href="methods/{name}.html"><code>tapetum run {name}</code></a>',
            " ".join(f"<code>{p.opts[0]}</code>" for p in command.params if p.name not in shared and p.name != "help"),
        )
        for name, command in commands.items()
    )
    return f"""<p>{words}</p>{_options([p for p in first.params if p.name in shared])}
<p>Each method adds its own parameters, read from its signature:</p>
{markup.table(("command", "its own options"), rows)}"""


def references_page(cited: Cited) -> str:
    """The bibliography."""
    items = "".join(f'<li id="{key}">{reference.html()}</li>' for key, reference in cited.items())
    return f"<h1>References</h1><ul>{items}</ul>"
