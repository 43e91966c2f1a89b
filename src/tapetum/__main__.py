"""Runs the command line for `python -m tapetum`."""

from tapetum.cli import main

main()
