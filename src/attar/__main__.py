"""`python -m attar`: the command line."""

from attar.cli.main import main

main()
