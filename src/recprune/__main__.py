"""``python -m recprune``."""

from recprune.cli import main

if __name__ == "__main__":
    main()
