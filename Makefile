# Everything here works on a fresh clone of a fresh machine, with nothing before it.
# TESTBED=name runs a second stack beside the first; FEDID_CACHE is where built servers are kept (default ~/.cache/fedid).

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help demo test up down status bench crash-matrix simulate soak lint format lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("fedid needs Python 3.11 or newer (Debian: python3.11, python3.11-venv)" if sys.version_info < (3, 11) else 0)'
	@echo "installing the locked Python packages into $(VENV), usually half a minute ..."
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing; install python3-venv" >&2; exit 1; }
	@# What the lock names and nothing else: a pip that also resolves may prefer a newer release, which has no hash here.
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements/dev.txt
	@$(VENV)/bin/pip check --quiet
	@touch $@

demo: $(STAMP) ## Show the whole story on a stack of its own, then remove it
	@$(RUN) -m tests.demo

up: $(STAMP) ## Bring the stack up and leave it running; then: source .testbed/env
	@$(RUN) -m tests.testbed up

down: $(STAMP) ## Stop the stack and remove what it kept
	@$(RUN) -m tests.testbed down

status: $(STAMP) ## Say what of the stack is running
	@$(RUN) -m tests.testbed status

# Most of the time a test waits for a server, so others run meanwhile, each worker on a stack of its own. Nothing is
# built beside them.
WORKERS ?= 3

test: $(STAMP) lint ## Everything, real servers included; WORKERS=3 files of tests at a time
	@$(RUN) -m tests.testbed prepare
	@$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

crash-matrix: $(STAMP) ## Cut off every request in every way; SAMPLE=1: each once; OPERATION="revoke now", KIND=BotClient: of that alone; RANDOM_RUNS=n: n lives under random faults; SEED=n
	@PYTHONPATH=operator:. $(RUN) -m tests.matrix $(if $(SAMPLE),--sample) $(if $(OPERATION),--operation "$(OPERATION)") $(if $(KIND),--kind "$(KIND)") $(if $(RANDOM_RUNS),--random-runs $(RANDOM_RUNS)) $(if $(SEED),--seed $(SEED))

bench: $(STAMP) ## Measure against a floor in the same run
	@$(RUN) -m tests.bench

soak: $(STAMP) ## Constant change for half an hour, then ten minutes without Keycloak
	@$(RUN) -m tests.soak

simulate: $(STAMP) ## Simulate the operator for SECONDS=60, or SEEDS=n from FIRST=n on, or SEED=n, in JOBS=n; MUTATIONS=1 plants bugs
	@PYTHONPATH=operator:. $(RUN) -m tests.simulation

lint: $(STAMP) ## Style, types and import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@MYPYPATH=operator $(VENV)/bin/mypy -p fedid
	@PYTHONPATH=operator $(VENV)/bin/lint-imports --no-cache >/dev/null || PYTHONPATH=operator $(VENV)/bin/lint-imports --no-cache

format: $(STAMP) ## Format, and mend what can be mended by itself
	@$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

LOCK := uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url

lock: ## Lock the dependencies anew, with hashes (needs uv)
	$(LOCK) --python-version 3.11 --output-file requirements/run.txt pyproject.toml
	$(LOCK) --python-version 3.11 --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --python-version 3.11 --output-file requirements/platforms.txt requirements/platforms.in
	$(LOCK) --python-version 3.12 --output-file requirements/bitfount.txt requirements/bitfount.in
	$(LOCK) --python-version 3.12 --no-deps --output-file requirements/bitfount-alone.txt requirements/bitfount-alone.in

clean: down ## Also remove the environment; the cache of built servers stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
