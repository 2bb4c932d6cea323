"""A service with settings that the program has no option for, as a program: the file that has them."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

from recprune.serving import serve

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    serve(
        pickle.loads(Path(sys.argv[1]).read_bytes()),
        lambda url: print(f"recprune: serving on {url}", file=sys.stderr, flush=True),
    )
