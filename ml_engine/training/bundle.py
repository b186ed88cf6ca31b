"""A forwarding module for one release: the command is now `ml_engine.training.train_bundled`."""

from __future__ import annotations

import sys

from ml_engine.training.train_bundled import main

if __name__ == "__main__":
    sys.exit(main())
