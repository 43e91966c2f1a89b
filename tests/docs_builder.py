"""The scripts that build the documentation, which are no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

BUILDER = Path(__file__).resolve().parents[1] / "docs" / "builder"


def module_of(name: str) -> Any:
    """Imports a script of docs/builder, which imports the others by their names."""
    sys.path.insert(0, str(BUILDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BUILDER))
