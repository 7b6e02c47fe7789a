"""``python -m doctrain`` is the command line."""

from doctrain.cli import main

main()
