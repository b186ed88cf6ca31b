"""A forwarding module for one release: the command is now `ml_engine.synthetic.examples`."""

from __future__ import annotations

import sys

from ml_engine.synthetic.examples import main

if __name__ == "__main__":
    sys.exit(main())
