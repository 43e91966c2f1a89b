"""Reads docs/references.bib and renders an entry as markdown: as much of BibTeX as that file uses."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[1] / "references.bib"

_ENTRY = re.compile(r"^@(?P<kind>\w+)\{(?P<key>[\w:-]+),\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*(?P<name>\w+)\s*=\s*\{(?P<value>.*)\},?\s*$")
_ACCENTS = {
    "'": "\N{COMBINING ACUTE ACCENT}",
    "`": "\N{COMBINING GRAVE ACCENT}",
    '"': "\N{COMBINING DIAERESIS}",
    "^": "\N{COMBINING CIRCUMFLEX ACCENT}",
    "~": "\N{COMBINING TILDE}",
}


@dataclass(frozen=True)
class Reference:
    """One entry: its key and its fields as plain text."""

    key: str
    fields: dict[str, str]

    @property
    def short(self) -> str:
        """ "Selvaraju et al. 2017"."""
        names = [name.partition(",")[0] for name in self.fields["author"].split(" and ")]
        who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."
        return f"{who} {self.fields['year']}"

    @property
    def url(self) -> str | None:
        """The DOI's address, else arXiv's."""
        if "doi" in self.fields:
            return f"https://doi.org/{self.fields['doi']}"
        return f"https://arxiv.org/abs/{self.fields['eprint']}" if "eprint" in self.fields else None

    def markdown(self) -> str:
        """Authors, title, where, year, address."""
        where = self.fields.get("booktitle") or self.fields.get("journal") or "arXiv"
        volume = f", {self.fields['volume']}" if "volume" in self.fields else ""
        pages = f", {self.fields['pages']}" if "pages" in self.fields else ""
        text = f"{_escaped(_names(self.fields['author']))}. *{_escaped(self.fields['title'])}*. "
        text += f"{_escaped(where + volume + pages)}, {self.fields['year']}."
        links = [f"<{self.url}>"] if self.url else []
        if "doi" in self.fields and "eprint" in self.fields:
            links.append(f"[arXiv:{self.fields['eprint']}](https://arxiv.org/abs/{self.fields['eprint']})")
        return " ".join([text, *links])


def references(path: Path = FILE) -> dict[str, Reference]:
    """Reads the references by key, in the order of the file; a duplicate key is an error."""
    found: dict[str, Reference] = {}
    for match in _ENTRY.finditer(path.read_text("utf-8")):
        if match["key"] in found:
            raise ValueError(f"{path.name} has two entries '{match['key']}'")
        fields = filter(None, map(_FIELD.match, match["body"].splitlines()))
        found[match["key"]] = Reference(match["key"], {field["name"]: plain(field["value"]) for field in fields})
    return found


def plain(text: str) -> str:
    r"""LaTeX's accents ("{\'e}"), dashes and braces as Unicode."""
    text = re.sub(r"""\{?\\(['`"^~])\{?(\w)\}?\}?""", lambda m: m[2] + _ACCENTS[m[1]], text)
    text = text.replace("--", "\N{EN DASH}").replace("{", "").replace("}", "")
    return unicodedata.normalize("NFC", text)


def _names(authors: str) -> str:
    """ "Selvaraju, Ramprasaath R. and ..." as "Ramprasaath R. Selvaraju, ..."."""
    people = [name.partition(", ") for name in authors.split(" and ")]
    return ", ".join(f"{first} {last}".strip() for last, _, first in people)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]<>#$|&])", r"\\\1", text)
