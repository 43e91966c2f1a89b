"""`python -m tapetum`."""

from tapetum.cli import main

main()
