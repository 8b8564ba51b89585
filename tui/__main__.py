"""`python -m tui`: the same as `pymr-tui`."""

from tui.cli import main

main()
