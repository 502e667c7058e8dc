"""`python -m lgg`: the `lgg` command."""

from lgg.cli import main

if __name__ == "__main__":
    main()
