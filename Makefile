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

# Balcony, a trained norm and head, and LayerSkip, three seeds each, in one table.
compare: $(READY)
	$(BIN)/python train.py --multirun experiment=balcony_llama3,headonly_llama3,layerskip_llama3 \
		seed=1,2,3 runs=runs/comparison hydra.sweep.dir=runs/comparison/sweep
	$(BIN)/python -m belvedere.runs.compare runs/comparison

clean:
	rm -rf $(VENV) .cache
