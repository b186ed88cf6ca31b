#!/usr/bin/env bash
# Makes the virtual environment .venv from requirements.lock. A second call only compares a stamp.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/muster-setup.stamp
want=$(cat requirements.lock infra/overrides.txt pyproject.toml | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && [ -x .venv/bin/python ]; then exit 0; fi

say() { printf 'muster setup: %s\n' "$*" >&2; }

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3.11 python3 python3.12 python3.13; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))'; then
      python=$candidate
      break
    fi
  done
fi
if [ -z "$python" ]; then
  say 'Python 3.11 or newer is needed and was not found. Install it (Debian, Ubuntu: apt-get install python3.11 python3.11-venv) or set PYTHON=/path/to/python3.'
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  say "$python cannot make virtual environments: its venv package is missing. Install it (Debian, Ubuntu: apt-get install python$version-venv) and call again."
  exit 1
fi

need_mib=${MUSTER_SETUP_MIB:-8000}
free_mib=$(df -Pm . | awk 'NR==2 {print $4}')
if [ "$free_mib" -lt "$need_mib" ]; then
  say "too little disk: $free_mib MiB are free in $(pwd), $need_mib MiB are needed (PyTorch and its CUDA libraries are most of it). Make room and call again."
  exit 1
fi

say 'making the virtual environment .venv (the first time this fetches about 3 GB)'
[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
.venv/bin/uv pip install --quiet --python .venv/bin/python --overrides infra/overrides.txt -r requirements.lock
# The command `muster`, which runs the code of this checkout.
.venv/bin/uv pip install --quiet --python .venv/bin/python --offline --no-deps --no-build-isolation --editable .
printf '%s' "$want" >"$stamp"
say 'done'
