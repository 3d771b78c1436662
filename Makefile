# make demo    install into .venv and run the whole path once: labels, a trained model, a served score, a page
# make test    install and run every test, the slow ones too
# make lint    ruff and mypy
# make lock    resolve requirements/*.in into requirements/*.lock anew

PYTHON ?= $(shell python3 -c 'import sys; print("python3" if sys.version_info[:2] == (3, 11) else "python3.11")')
# Where torch for the CPU comes from when no package index that pip knows has it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Processes of `make test`; 0 runs all in one.
WORKERS ?= 2

BIN := .venv/bin
LOCK := requirements/cpu.lock
STAMP := .venv/installed-$(shell cat $(LOCK) pyproject.toml | sha256sum | cut -c1-16)
PROBLEMS := .venv/problems-$(shell sha256sum requirements/problems.lock | cut -c1-16)
# Errors alone: pip's warnings would bury them.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps

.PHONY: demo test lint lock
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/rewardkit quickstart

# One thread each: the tests' models are tiny, and threads that wait for each other are slower than none.
test: export OMP_NUM_THREADS ?= 1
test: $(STAMP) $(PROBLEMS)
	$(BIN)/python -m pytest --slow -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict rewardkit

$(STAMP):
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'Python 3.11 with venv is needed (apt-get install python3.11-venv)'; exit 1; }
	$(PYTHON) -m venv .venv
	@grep '^torch==' $(LOCK) > .venv/torch.txt
	@echo "installing $$(grep -c == $(LOCK)) packages into .venv (some minutes)"
	@$(PIP) -r .venv/torch.txt 2> .venv/torch.log || \
		{ echo "torch: taking it from $(TORCH_INDEX)"; $(PIP) --index-url $(TORCH_INDEX) -r .venv/torch.txt; }
	$(PIP) -r $(LOCK)
	$(PIP) --no-build-isolation -e .
	@rm -f .venv/installed-*
	@touch $@

# One of its packages is compiled: where there is no compiler, the tests of reasoning-gym are skipped and say so.
$(PROBLEMS): $(STAMP)
	@$(PIP) -r requirements/problems.lock 2> .venv/problems.log || echo "reasoning-gym is left out: see .venv/problems.log"
	@touch $@

lock: $(STAMP)
	$(PIP) uv
	$(call resolve,cpu)
	$(call resolve,serve-cpu)

# The second keeps to the versions of the first, which are the ones that are tested.
resolve = $(BIN)/uv pip compile requirements/$(1).in --overrides requirements/cpu.overrides --python-version 3.11 \
	--python-platform x86_64-unknown-linux-gnu --quiet --no-annotate --no-emit-package rewardkit \
	$(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--extra-index-url $(TORCH_INDEX)) \
	--custom-compile-command 'make lock' --output-file requirements/$(1).lock
