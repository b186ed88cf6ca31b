"""`python -m api.keys`: the short name of `api/keys_command.py`."""

from __future__ import annotations

import sys

from api.keys_command import main

if __name__ == "__main__":
    sys.exit(main())
