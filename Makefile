# make quick      the whole workflow, small: a few minutes on two cores, ending in results/report.html
# make report     the whole workflow on every core, ending in results/report.html
# make test       the tests; make test-fast: the unit tests, about a minute
# make lint       what the code looks like
# make benchmark  30 to 45 minutes of measuring, ending in results/side_by_side/table.md; leave the machine alone meanwhile
# make docs       docs/configuration.md and docs/library.md from the schemas and docstrings, and the project's address
# All set up .venv first. Another Python: make PYTHON=/path/to/python3.12 report
# Where there is no GPU, PyTorch without CUDA, 1 GB in all in place of 6: make TORCH_INDEX=https://download.pytorch.org/whl/cpu report

PYTHON ?= python3
BIN := .venv/bin
# Three processes on two cores, each with one file of tests at a time; the longest files first.
SHARED := -n 3 --dist loadfile --no-loadscope-reorder
LONGEST := $(patsubst %,tests/workflow/test_%.py,slurm cascade_workflow deepfloyd faults hub mnist_workflow)

.PHONY: quick report test test-fast lint benchmark docs

report: .venv/ready
	$(BIN)/snakemake --cores all all

quick: .venv/ready
	$(BIN)/snakemake --cores all all --configfile config.yaml presets/quick.yaml

test: .venv/ready-to-test
	$(BIN)/pytest $(SHARED) -m "not alone" $(LONGEST) tests/workflow tests/unit
	$(BIN)/pytest -m alone tests/workflow

test-fast: .venv/ready-to-test
	$(BIN)/pytest $(SHARED) tests/unit

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

docs: .venv/ready-to-test
	PYTHONPATH=scripts $(BIN)/python -m fun.reference

benchmark: .venv/ready-to-benchmark
	$(BIN)/snakemake --cores all benchmark

.venv/ready: envs/requirements.txt
	@case "$$PWD" in *[[:space:]\"\'\`\$$\&\;\|\<\>\(\)\{\}\[\]\*\?\!\#\~\\]*) \
	  echo "Snakemake cannot start jobs from .venv in a folder whose path has a space, a quote or one of \$$&;|<>(){}[]*?!#~\\: move the project" >&2; exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed: install it, or name one with make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
ifdef TORCH_INDEX
	$(BIN)/pip install --quiet --index-url $(TORCH_INDEX) $(shell grep -E '^torch(vision)?==' envs/requirements.txt)
endif
	$(BIN)/pip install --quiet --requirement envs/requirements.txt
	touch $@

.venv/ready-to-test: .venv/ready envs/requirements-test.txt
	$(BIN)/pip install --quiet --requirement envs/requirements-test.txt
	touch $@

.venv/ready-to-benchmark: .venv/ready envs/requirements-benchmark.txt
	$(BIN)/pip install --quiet --requirement envs/requirements-benchmark.txt
	touch $@
