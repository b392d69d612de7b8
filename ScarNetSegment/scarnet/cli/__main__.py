"""`python -m scarnet.cli` is the `scarnet` command."""

from scarnet.cli import main

main()
