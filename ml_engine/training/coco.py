"""The command's old name, kept for one release: `python -m ml_engine.datasets.photos`."""

from __future__ import annotations

import sys

from ml_engine.datasets.photos import main

if __name__ == "__main__":
    sys.exit(main())
