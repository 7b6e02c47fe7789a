# Everything a developer runs. `make` alone lists it. Needs python3 (3.11 to 3.13) with venv, and nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.setup-done
ARGS   ?=
FAULTS ?= 60
DOCUMENTS ?= 20000
SEED   ?= 1
SEEDS  ?= 2000
REPLAY ?=
MUTATIONS ?= 2000
SAMPLES ?=
KEEP ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests and meshes are hundreds of processes with the same modules, which each would compile anew.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help setup setup-test check format protos model docs images test chaos chaos-proof simulate hostile quality demo bench bench-pipeline lock audit build clean distclean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the locked dependencies and this project in it

$(STAMP): requirements/dev.txt pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "doctrain needs Python 3.11 to 3.13; say which: make setup PYTHON=python3.12")'
	@echo "Installing the locked dependencies into $(VENV) (the first time takes a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -e clients/python
	@touch $@

setup-test: ## Install what the tests start: RabbitMQ, etcd, bubblewrap, libfaketime, promtool, Chromium (Debian packages; root or sudo)
	@scripts/setup_test.sh

check: setup ## Everything short of the tests: format, lint, types, architecture, protos, stubs, compose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python scripts/gen_protos.py --check
	$(BIN)/python scripts/gen_settings.py --check
	$(BIN)/python scripts/gen_minilm.py --check

format: setup ## Format Python and protos, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write

protos: setup ## Regenerate the stubs from protos/
	$(BIN)/python scripts/gen_protos.py

model: setup ## Write the graph of the embedding model anew
	$(BIN)/python scripts/gen_minilm.py

docs: setup ## Regenerate docs/reference/settings.md
	$(BIN)/python scripts/gen_settings.py

images: setup setup-test ## Take the pictures of the dashboard in docs/images/ anew
	PYTHONPATH=tests $(BIN)/python scripts/gen_images.py

test: setup setup-test ## Run the tests on real servers; ARGS go to pytest: make test ARGS="-k shard -x"
	$(BIN)/pytest -n auto --dist loadgroup $(ARGS)

chaos: setup setup-test ## Faults on a mesh at work: make chaos FAULTS=1000 SEED=7; goes on where an earlier run of that length ended
	PYTHONPATH=tests $(BIN)/python -m chaos --faults $(FAULTS) --documents $(DOCUMENTS) --seed $(SEED) \
		--results build/chaos/$(FAULTS)-$(DOCUMENTS)-$(SEED).json $(ARGS)

chaos-proof: setup setup-test ## Prove that the chaos checker notices broken rules
	PYTHONPATH=tests $(BIN)/python -m chaos.proof --seed $(SEED) $(ARGS)

simulate: setup ## Look for broken promises in many simulated runs (SEEDS=n), or replay one with its event log (REPLAY=n)
	PYTHONPATH=tests $(BIN)/python -m simulation $(if $(REPLAY),--seed $(REPLAY),--seeds $(SEEDS)) $(ARGS)

hostile: setup ## Read hostile documents and changed ones (MUTATIONS=n, SEED=n) in children, and say what became of them
	PYTHONPATH=tests $(BIN)/python -m hostile --mutations $(MUTATIONS) --seed $(SEED) $(ARGS)

quality: setup ## Measure how well documents are read: the shipped corpus, or those of SAMPLES=DIR (docs/quality.md)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.quality $(SAMPLES)

demo: setup ## Train the small corpus on an embedded mesh and show what became of it; KEEP=1 stays up for its dashboard
	$(BIN)/doctrain-server demo $(if $(KEEP),--keep)

bench: setup ## Measure documents a second; ARGS go to the benchmark
	PYTHONPATH=$(CURDIR)/tests:$(CURDIR) $(BIN)/python -m benchmarks $(ARGS)

bench-pipeline: setup ## Measure the whole pipeline against the same functions in a plain loop; ARGS go to it
	$(BIN)/python -m benchmarks.pipeline $(ARGS)

# No file names an index or a host: what is locked are names, versions and hashes. Releases younger than three days wait.
COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes --exclude-newer "3 days" \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package doctrain $(ARGS)

lock: setup ## Resolve the dependencies anew; keeps locked versions unless ARGS=--upgrade
	$(COMPILE) --group dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml -o requirements/server.txt
	printf 'hatchling\neditables\n' | $(COMPILE) -c requirements/dev.txt - -o requirements/build.txt

audit: setup ## Known faults of the locked packages, and a list of them (SBOM) in dist/
	$(BIN)/python scripts/audit.py

build: setup ## Build both distributions into dist/
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m build --no-isolation --outdir dist clients/python

clean: ## Remove caches and build results
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find clients mesh coordinator worker server tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	rm -rf $(VENV)
