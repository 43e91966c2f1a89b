"""In a notebook a result shows itself. A process of its own: IPython's shell is a singleton and patches builtins."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import tapetum as tp, torch
model = tp.load("simple_cnn", weights=None)
result = tp.edge_attribution(model, torch.rand(1, 3, 32, 32) - 0.5, target=0)
data, _ = shell.display_formatter.format(result)
assert data["text/html"].startswith('<img src="data:image/png;base64,iVBORw0KGgo'), data
made, _ = shell.display_formatter.format(tp.visualize(model, "features.1.0:0", size=16, n_steps=1))
assert made["text/html"].startswith('<img src="data:image/png;base64,iVBORw0KGgo'), made
plain, _ = shell.display_formatter.format(tp.contrast(1, 2))
assert "text/html" not in plain
assert "\\n" not in data["text/plain"]
"""


def test_a_result_shows_itself_as_a_picture() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
