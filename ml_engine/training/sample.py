"""A forwarding module for one release: the command is now `ml_engine.synthetic.sample_video`."""

from __future__ import annotations

import sys

from ml_engine.synthetic.sample_video import main

if __name__ == "__main__":
    sys.exit(main())
