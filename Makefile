# Everything a person or CI does. `make help` lists it. Nothing here needs sudo, Docker or a download other than packages.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Real ALFWorld games (folder or archive); empty = synthetic games.
DATA ?=
SEED ?= 0
# Processes that share the tests, a file each: many of them wait for processes of their own.
WORKERS ?= 2
RUN ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check style style-check types proto proto-check schema schema-check metrics openapi pictures chart docs-check compose-smoke clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml requirements/serve-cpu.txt requirements/serve-cpu-nodeps.txt requirements/constraints.txt requirements/dev-nodeps.txt scripts/setup.sh
	PYTHON="$(PYTHON)" bash scripts/setup.sh "$(VENV)"
	@touch $@

setup: $(VENV)/.ready ## Create .venv with everything the demo and the tests need

demo: setup ## Train an agent on this machine: make demo [DATA=path] [SEED=0]
	$(BIN)/hiper demo --run-dir "$(RUN)" --seed $(SEED) $(if $(DATA),--data "$(DATA)")

test: setup check ## Lint, types, drift checks and every test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

test-fast: setup ## Tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not vllm and not e2e"

check: style-check types proto-check schema-check docs-check ## Everything but the tests

style: setup ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

style-check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Strict type check
	$(BIN)/mypy

proto: setup ## Lint the contracts and generate their stubs
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python scripts/generate_proto.py

proto-check: setup
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python scripts/generate_proto.py --check

schema: setup ## Write configs/schema.json, and the chart's schema of `config`
	$(BIN)/hiper config schema > configs/schema.json
	$(BIN)/python scripts/sync_chart.py

schema-check: setup
	$(BIN)/hiper config schema | diff -u configs/schema.json - || { echo "run \`make schema\`" >&2; exit 1; }

pictures: setup ## Draw docs/pictures
	$(BIN)/python scripts/draw_pictures.py

chart: setup ## Copy into deploy/helm what is written elsewhere, and write its README
	$(BIN)/python scripts/sync_chart.py
	$(BIN)/python scripts/generate_chart_readme.py

docs-check: setup
	$(BIN)/python scripts/draw_pictures.py --check
	$(BIN)/python scripts/sync_chart.py --check
	$(BIN)/python scripts/generate_chart_readme.py --check

metrics: setup ## Write docs/metrics.md and the Grafana dashboards
	$(BIN)/hiper metrics docs > docs/metrics.md
	$(BIN)/hiper metrics dashboards --output deploy/grafana/dashboards
	$(BIN)/python scripts/sync_chart.py

openapi: setup ## Write services/control/openapi.json
	$(BIN)/python -m services.control.openapi > services/control/openapi.json

compose-smoke: ## Build the images and run docker-compose.yml for real; as root, with Docker
	$(PYTHON) scripts/compose_smoke.py

clean: ## Remove builds and caches, but no run
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
