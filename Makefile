# People and CI run the same commands. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run check test docs soak bench chaos mutants images lint lock
PY := .venv/bin/python
KILLS ?= 200
JOBS ?= 40
STORE ?= sqlite
ENGINE ?= real
# Each file's tests stay in one process, which makes their servers once. Long files come first.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## make the virtual environment .venv (the other commands call it)
	@bash infra/setup.sh

run: setup  ## start Azurite, the API and a worker on this machine and count the sample video
	@exec $(PY) -m infra.run

check: setup  ## style, types, structure and unit tests, in two processes: two to three minutes
	@$(PY) -m ruff check . && $(PY) -m ruff format --check --quiet . && $(PY) -m mypy
	@$(PY) -m pytest tests/unit -q $(SIDE_BY_SIDE) $(ARGS)

test: setup  ## run all tests, with real Azurite and a MongoDB-protocol server
	@$(PY) -m ruff check .
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

docs: setup  ## build the documentation into docs/_build, warnings are errors
	@$(PY) -m infra.reference
	@$(PY) -m sphinx -W --keep-going -q -n docs docs/_build && echo docs/_build/index.html

soak: setup  ## run the long forms of what `make test` runs in small: minutes to hours
	@$(PY) -m pytest -m soak --timeout 3600 $(ARGS)

bench: setup  ## measure, print the ratios and write tests/bench/RESULTS.md
	@exec $(PY) -m tests.bench $(ARGS)

chaos: setup  ## kill workers KILLS times over JOBS jobs (200, 40) and see that nothing is lost, doubled or different; STORE=sqlite|mongo, ENGINE=real|quick
	@exec $(PY) -m tests.chaos --kills $(KILLS) --jobs $(JOBS) --store $(STORE) --engine $(ENGINE) $(if $(SEED),--seed $(SEED))

mutants: setup  ## take out each mechanism behind a promise, one after the other, and see that its test notices; ARGS=words of some
	@exec $(PY) -m tests.mutants $(ARGS)

images:  ## build the images of the API, the worker and Azurite with Docker
	@docker compose build

lint: setup  ## format and check the code and its types
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix . && $(PY) -m mypy

lock: setup  ## pin the newest versions that requirements*.txt allow
	@.venv/bin/uv pip compile --quiet --python-version 3.11 --overrides infra/overrides.txt requirements-dev.txt -o requirements.lock
