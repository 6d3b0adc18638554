# Everything happens in .venv; `make demo` and `make test` need only Python 3.11+ and make.

# The first interpreter that is new enough; PYTHON=... overrides the search.
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)

VENV := .venv
WHEEL_VENV := .venv-wheel
BIN := $(VENV)/bin
QUIET := --quiet --disable-pip-version-check
METADATA := pyproject.toml setup.py
# Workers of the test run; two of them keep a small machine usable.
JOBS ?= 2

.PHONY: help demo test lint bench clean

help:
	@echo "make demo   train LeNet on handwritten digits and show what was compiled"
	@echo "make test   run the whole test suite (PEERS=1: with comparisons to PyTorch)"
	@echo "make lint   run ruff and mypy"
	@echo "make bench  run the benchmarks"
	@echo "make clean  delete everything that make made"

demo: $(VENV)/demo.stamp
	$(BIN)/graphc demo --out graphc-demo

test: $(VENV)/test.stamp $(if $(PEERS),$(VENV)/peers.stamp)
	$(BIN)/python -m pytest -n $(JOBS)

# The types are checked on the built wheel, installed as a user would install it: only there does
# passes/ stand at graphc.passes, and a file missing from the wheel shows up.
lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build $(WHEEL_VENV)
	$(BIN)/python -m build --wheel --outdir build/wheel > /dev/null
	$(BIN)/python -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install $(QUIET) mypy "$$(ls $$PWD/build/wheel/*.whl)[demo,io,onnx]"
	$(WHEEL_VENV)/bin/graphc doctor > /dev/null
	cd build && ../$(WHEEL_VENV)/bin/mypy --config-file ../pyproject.toml --strict -p graphc

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks

# One stamp per extra: installed again only when the metadata changes.
$(VENV)/%.stamp: $(METADATA) | $(BIN)/python
	$(BIN)/python -m pip install $(QUIET) --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "graphc needs Python 3.11 or newer; none was found (looked for: $(CANDIDATES))."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3"; exit 1; } >&2
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "graphc needs Python 3.11 or newer; $(PYTHON) is not."; exit 1; } >&2
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Could not make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; } >&2

clean:
	rm -rf $(VENV) $(WHEEL_VENV) build dist graphc-demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
