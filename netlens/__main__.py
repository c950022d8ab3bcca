"""``python -m netlens`` is the command line."""

from netlens.cli import main

main()
