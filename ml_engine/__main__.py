"""`python -m ml_engine`: count without any service."""

from __future__ import annotations

import sys

from ml_engine.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
