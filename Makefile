# make train and make test set up what they need, then work. Running them again costs seconds.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/ready

.PHONY: train test check compare clean

train: $(READY)
	$(BIN)/python train.py experiment=balcony_llama3

test: $(READY)
	$(BIN)/python -m pytest

# Formatting, lint and types.
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) .cache
