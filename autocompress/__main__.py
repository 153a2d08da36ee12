"""`python -m autocompress` is the command line."""

from autocompress.cli import main

main()
