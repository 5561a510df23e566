# Everything lives in .venv; the only needs are python3, make, and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STORES_VENV := $(VENV)/stores
CORE := compiler.py hatch_build.py ziglang.lock $(wildcard src/fanfold/native/*.c src/fanfold/native/*.h)

.PHONY: setup azurite check quick test coverage fuzz torture stores demo cluster cluster-setup docs bench growth lock clean

setup: $(STAMP)

# Where the system has no C compiler, the one in a package of its own builds the core.
$(STAMP): requirements.lock tests/stores/requirements.lock pyproject.toml $(CORE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --system-certs --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/python compiler.py || $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python \
		--require-hashes --requirements ziglang.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	test -x $(STORES_VENV)/bin/python || $(PYTHON) -m venv --without-pip $(STORES_VENV)
	$(BIN)/uv pip sync --quiet --system-certs --python $(STORES_VENV)/bin/python --require-hashes \
		tests/stores/requirements.lock
	touch $@

# Azure Blob Storage for tests, where there is Node.js: without it they are skipped.
azurite: setup
	mkdir -p $(VENV)/azurite
	cp tests/stores/azurite/package.json tests/stores/azurite/package-lock.json $(VENV)/azurite
	npm ci --prefix $(VENV)/azurite --silent --no-audit --no-fund

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# What is fast: no Airflow, no kills, no builds. Less than a minute.
quick: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m "not slow"

# Two at a time: the tests of Airflow mostly wait.
test: setup cluster-setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal

# All tests, with the branches that they take; fails under the threshold in pyproject.toml.
coverage: setup cluster-setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal --cov --cov-report term

# Options: make fuzz FUZZ="--seconds 120 --seed 1".
fuzz: setup
	$(BIN)/python -m tests.fuzz $(FUZZ)

# Options: make torture TORTURE="--kills 50 --seed 2".
torture: setup
	$(BIN)/python -m tests.torture $(TORTURE)

# Options: make stores STORES="--files 40 --rounds 5".
stores: setup
	$(BIN)/python -m tests.stores $(STORES)

demo: setup
	$(BIN)/python demo/baskets.py data
	$(BIN)/fanfold airflow dags/transactions.yaml --once

# The same baskets in a bucket, on a cluster: PostgreSQL, Redis, two Celery workers that share nothing else.
cluster: cluster-setup
	$(BIN)/python demo/baskets.py data
	$(BIN)/python -m tests.cluster.demo dags/transactions.yaml data

# Airflow with Celery and the drivers of PostgreSQL, and Redis: only a cluster needs them.
CLUSTER_VENV := $(VENV)/cluster
CLUSTER_STAMP := $(CLUSTER_VENV)/.installed

cluster-setup: $(CLUSTER_STAMP)

$(CLUSTER_STAMP): $(STAMP) tests/cluster/requirements.lock
	test -x $(CLUSTER_VENV)/bin/python || $(PYTHON) -m venv $(CLUSTER_VENV)
	$(BIN)/uv pip sync --quiet --system-certs --python $(CLUSTER_VENV)/bin/python --require-hashes tests/cluster/requirements.lock
	$(BIN)/uv pip install --quiet --python $(CLUSTER_VENV)/bin/python --no-deps --no-build-isolation --editable .
	touch $@

# The pages as a site, in site/: a link or an anchor that leads nowhere stops it.
DOCS_VENV := $(VENV)/docs

docs: setup
	test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV)
	$(BIN)/uv pip sync --quiet --system-certs --python $(DOCS_VENV)/bin/python --require-hashes docs/requirements.lock
	$(BIN)/python -m docs.generate
	$(DOCS_VENV)/bin/zensical build --clean --strict

# Options: make bench SCALE=0.05 PEERS=all BENCH="--turns 3".
SCALE ?= 1
PEERS ?= usual
BENCH_VENV := benchmarks/.venv
BENCH_LOCK := benchmarks/requirements$(if $(filter all,$(PEERS)),-all).lock

bench growth: setup
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BIN)/uv pip sync --quiet --system-certs --python $(BENCH_VENV)/bin/python --require-hashes $(BENCH_LOCK)
	$(BIN)/python -m benchmarks$(if $(filter growth,$@),.growth) --scale $(SCALE) \
		$(if $(filter bench,$@),--peers $(PEERS)) $(BENCH)

# Pins every package with its hashes, for every platform, and names no index.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--all-extras --group dev --group demo --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	for directory in docs tests/stores; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" --output-file $$directory/requirements.lock $$directory/requirements.in; done
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--constraint requirements.lock --extra airflow --extra cloud --custom-compile-command "make lock" \
		--output-file tests/cluster/requirements.lock pyproject.toml tests/cluster/requirements.in
	echo ziglang | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file ziglang.lock -
	for name in requirements requirements-all; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--constraint requirements.lock --custom-compile-command "make lock" \
			--output-file benchmarks/$$name.lock benchmarks/$$name.in; done

clean:
	rm -rf $(VENV) $(BENCH_VENV) site data dags/.airflow src/fanfold/native/libfanfold.*
