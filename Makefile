# Two commands matter: `make demo` runs the whole loop, `make test` proves the parts.
.PHONY: install demo test lint bench fuzz test-all lock clean
BIN := .venv/bin
STAMP := .venv/.installed

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	rm -rf demo
	$(BIN)/annoloop demo demo

test: install
	$(BIN)/python -m pytest -n 2 -m "not long"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/limits.py

bench: install
	failed=0; for script in benchmarks/*.py; do $(BIN)/python $$script || failed=1; done; exit $$failed

# Minutes for each importer; what breaks lands in tests/fuzz/found/ and is a test from then on.
FUZZ_SECONDS ?= 600
fuzz: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	for target in coco yolo voc answers; do $(BIN)/python -m tests.fuzz.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

test-all: install
	bash .ci/run

# Needs uv (pip install uv); writes pins and hashes only.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements.lock

clean:
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache
