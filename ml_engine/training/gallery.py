"""A forwarding module for one release: the command is now `ml_engine.cli.gallery`."""

from __future__ import annotations

import sys

from ml_engine.cli.gallery import main

if __name__ == "__main__":
    sys.exit(main())
