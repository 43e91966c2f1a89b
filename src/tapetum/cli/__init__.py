"""The command line: `tapetum`, also `python -m tapetum`."""

from tapetum.cli.main import main
