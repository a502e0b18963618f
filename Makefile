# Everything that turns a clone into an environment, executed notebooks and an HTML report. `make` alone lists the targets.
#
# PROFILE        the size of the studies: notebooks/profiles/*.yaml
# PYTHON         the interpreter that makes .venv, read only then: make setup PYTHON=python3.12
# TORCH_BACKEND  uv's --torch-backend (cpu, cu128, ...), kept with .venv until another is named: make setup TORCH_BACKEND=cpu
# BENCHMARK      another module of benchmarks/ to run: make bench BENCHMARK=metering
# ARGS           more words for the command behind a target: make test ARGS="tests/test_setup.py -x"

PROFILE ?= quick
PYTHON ?= python3
ARGS ?=

PY := .venv/bin/python
UV := .venv/bin/uv
STAMP := .venv/.installed
ifeq ($(origin TORCH_BACKEND),undefined)
TORCH_BACKEND := $(shell sed -n 2p $(STAMP) 2>/dev/null)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce figures report verify test lint lab lock bench doctor clean

help:  ## What make can do (this list)
	@echo "make TARGET [PROFILE=$(PROFILE)]"
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)$$/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  %-10s %s\n' "$$target" "$$text"; done

setup: $(STAMP)  ## The environment alone: .venv with what requirements.lock pins, by hash

reproduce: setup  ## Train what is missing, execute the notebooks, write tables, figures and the report
	$(PY) -m greenai_utils reproduce --profile $(PROFILE) $(ARGS)

figures: setup  ## Draw every figure of a profile from its tables
	$(PY) -m greenai_utils figures --profile $(PROFILE) $(ARGS)

report: setup  ## Rebuild the HTML report from the executed notebooks
	$(PY) -m greenai_utils report --profile $(PROFILE) $(ARGS)

verify: setup  ## Check records, tables and figures of a profile against each other
	$(PY) -m greenai_utils verify --profile $(PROFILE) $(ARGS)

doctor: setup  ## What this machine can measure, what it cannot, and what to do about it
	$(PY) -m greenai_utils doctor $(ARGS)

bench: setup  ## Speed of training, as ratios, into data/bench/bench.csv (BENCHMARK=metering: that of something else)
	$(PY) -m benchmarks$(addprefix .,$(BENCHMARK)) $(ARGS)

test: setup  ## Run the tests
	$(PY) -m pytest $(ARGS)

lint: setup  ## Check style, format, types and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-cache

lab: setup  ## Open the notebooks in JupyterLab
	cd notebooks && ../$(PY) -m jupyter lab $(ARGS)

lock: setup  ## Renew requirements.lock and environment.yml (ARGS=--upgrade: with the newest versions)
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(ARGS) pyproject.toml -o requirements.lock
	$(MAKE) --no-print-directory environment.yml

clean:  ## Remove what own runs made: not .venv, not downloads in data/raw, not shipped records
	git clean -fdXq --exclude='!/data/raw/' -- data figures report
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find benchmarks greenai_utils notebooks report tests -name __pycache__ -prune -exec rm -rf {} +

# An environment counts as whole when its stamp, written last, names this folder (a moved .venv points to where it was) and
# torch's backend, and its interpreter still starts. Anything less, an interrupted setup included, is made anew.
INTACT := $(shell test "$$(cat $(STAMP) 2>/dev/null)" = "$$(printf '%s\n%s' '$(CURDIR)' '$(TORCH_BACKEND)')" && \
	$(PY) -c '' 2>/dev/null && echo yes)
ifneq ($(INTACT),yes)
.PHONY: $(STAMP)
endif

# A mirror set for pip serves uv as well, which does not read pip's settings.
PIP_INDEX = $(PY) -m pip config list | sed -n "s/.*\.index-url='\(.*\)'/\1/p" | tail -n 1
INDEX = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(PIP_INDEX))}"

# Bytecode is compiled once here: torch alone takes a second longer in every process where PYTHONDONTWRITEBYTECODE is set.

# torch's other builds come from torch's own index under versions (2.x+cpu) whose hashes the lock cannot hold: that torch and
# its libraries are pinned by version alone, everything else still by hash.
TORCH_PACKAGES := /^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/ && !/^nvidia-ml-py==/
TORCH_PINS = $$(sed -n 's/^\(torch\(vision\)*==[^ ]*\).*/\1/p' requirements.lock)

WRONG_PYTHON := Install one of them, or name one: make setup PYTHON=python3.12

$(STAMP): requirements.lock pyproject.toml
ifneq ($(INTACT),yes)
	@command -v $(PYTHON) >/dev/null || { \
		echo "The environment needs Python 3.11, 3.12 or 3.13; got no command '$(PYTHON)'. $(WRONG_PYTHON)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= tuple(v[:2]) <= (3, 13) and \
		"The environment needs Python 3.11, 3.12 or 3.13; got %d.%d.%d (%s). $(WRONG_PYTHON)" \
		% (v[0], v[1], v[2], sys.executable))'
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/^    # via/p' requirements.lock | \
		$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement /dev/stdin
endif
	@rm -f $(STAMP)
ifeq ($(TORCH_BACKEND),)
	$(INDEX) $(UV) pip sync --python $(PY) --compile-bytecode --require-hashes requirements.lock
else
	awk '/^[a-z]/ {keep = !($(TORCH_PACKAGES))} keep' requirements.lock | \
		$(INDEX) $(UV) pip sync --python $(PY) --compile-bytecode --require-hashes -
	$(INDEX) $(UV) pip install --python $(PY) --compile-bytecode --torch-backend $(TORCH_BACKEND) $(TORCH_PINS)
endif
	$(UV) pip install --python $(PY) --quiet --no-deps --no-build-isolation --editable .
	@printf '%s\n%s\n' '$(CURDIR)' '$(TORCH_BACKEND)' > $(STAMP)

# The same versions for conda and mamba: the lock's pins without their hashes, which conda cannot read.
environment.yml: requirements.lock Makefile
	@{ echo '# Made from requirements.lock by `make lock`. Create it with: conda env create --file environment.yml'; \
		echo 'name: greenai'; \
		echo 'channels:'; \
		echo '  - conda-forge'; \
		echo '  - nodefaults'; \
		echo 'dependencies:'; \
		echo '  - python >=3.11,<3.14'; \
		echo '  - pip'; \
		echo '  - git'; \
		echo '  - make'; \
		echo '  - pip:'; \
		sed -n 's/^\([a-z].*==.*[^ ]\) \\$$/      - "\1"/p' requirements.lock; \
		echo '      - --editable .'; } > $@
