"""The command's old name, kept for one release: `python -m ml_engine.training.train_bundled`."""

from __future__ import annotations

import sys

from ml_engine.training.train_bundled import main

if __name__ == "__main__":
    sys.exit(main())
