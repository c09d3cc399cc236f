"""Run the command line: ``python -m smallarea``."""

from smallarea.cli import main

if __name__ == "__main__":
    main()
