# One command each; everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup heavy cluster study test slow check notebooks pairs faults browser s3 postgres bench lock

setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --quiet install uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

study: setup
	$(BIN)/python -m vaetune.study regularizer_ablation $(ARGS)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

# Whole studies and real servers. Two at a time: much of what they take is waiting for Ray and MLflow to start.
slow: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow --durations=10 $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict vaetune

# Every notebook from top to bottom, on a study that is run for them; then what needs a notebook's packages.
TRIED := build/notebooks
notebooks: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group notebooks --constraint requirements.lock
	rm -rf $(TRIED)
	$(BIN)/python -m vaetune.study regularizer_ablation --preset smoke --storage $(TRIED)/runs \
		--tracking-uri sqlite:///$(TRIED)/runs/mlflow.db
	env -u MLFLOW_TRACKING_URI VAETUNE_RUNS=$(CURDIR)/$(TRIED)/runs $(BIN)/python -m pytest \
		--nbmake --nbmake-timeout=300 --timeout=600 --durations=0 notebooks
	$(BIN)/python -m pytest -m notebooks tests/notebooks tests/latents

# After an edit of a notebook or of its .py file: the older of the two follows, and outputs are stripped.
pairs:
	$(BIN)/jupytext --quiet --sync notebooks/*.py
	$(BIN)/python -m jupyter nbconvert --clear-output --inplace notebooks/*.ipynb

heavy: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group heavy --constraint requirements.lock

browser: heavy
	command -v chromium >/dev/null || { apt-get update && apt-get install -y chromium; }
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

s3: heavy
	$(BIN)/python -m pytest -m s3 tests/pull tests/study $(ARGS)

postgres: heavy
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { apt-get update && apt-get install -y postgresql; }
	$(BIN)/python -m pytest -m postgres tests/tracking $(ARGS)

cluster: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group cluster --constraint requirements.lock
	for each in sshd ssh ip rsync; do PATH=$$PATH:/usr/sbin command -v $$each >/dev/null || missing=1; done; \
		test -z "$$missing" || { apt-get update && apt-get install -y openssh-server openssh-client iproute2 rsync; }
	$(BIN)/python -m pytest -m cluster tests/cluster $(ARGS)

faults: heavy
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { apt-get update && apt-get install -y libfaketime; }
	$(BIN)/python tests/faults/table.py

bench: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench --constraint requirements.lock
	$(BIN)/python -m benchmarks $(ARGS)

lock:
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip --quiet install uv; }
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group dev pyproject.toml \
		--no-emit-index-url --no-emit-find-links --output-file requirements.lock
