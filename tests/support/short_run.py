"""`python -m tests.support.short_run VIDEO PATH…`: `make run` with a video instead of the sample, a
request for each path, then Ctrl-C.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

_RUN = "import pathlib, sys; from infra import run; run.SAMPLE = pathlib.Path(sys.argv[1]); sys.exit(run.main([]))"


def main(video: str, *paths: str) -> int:
    """Return the exit status of `infra.run`; a path that is not answered with 200 raises."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", _RUN, video], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            print(line, end="")
            if "Ctrl-C stops everything" in line:
                try:
                    for path in paths:
                        urllib.request.urlopen(f"http://127.0.0.1:8000{path}", timeout=30).close()
                        print(f"answered: {path}")
                finally:
                    run.send_signal(signal.SIGINT)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
