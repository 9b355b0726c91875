# make train and make test set up what they need, then work. Running them again costs seconds.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/ready

.PHONY: train test check compare compare-alpaca compare-triviaqa compare-charts clean

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
		seed=1,2,3 runs=runs/comparison

# Sorted fine-tuning against SFT, SFT+ICT and extracted fine-tuning, with the same data and seeds, in
# one report. One's own data: make compare-alpaca OPTIONS=data.path=FILE
SEEDS ?= 1,2,3
OPTIONS ?=
compare-alpaca compare-triviaqa: compare-%: $(READY)
	$(BIN)/python train.py $(SWEEP) experiment=sft_llama2_$*
	$(BIN)/python train.py $(SWEEP) experiment=soft_llama2_$* \
		'reference=$${runs}/sft_llama2_$*/seed_$${seed}'
	$(BIN)/python train.py $(SWEEP) experiment=soft_llama2_$* model.sorting.weights=mean_last \
		model.method=soft_mean_last 'run_dir=$${runs}/mean_last/seed_$${seed}' \
		'reference=$${runs}/sft_llama2_$*/seed_$${seed}'
	$(BIN)/python train.py $(SWEEP) experiment=ict_llama2_$* \
		'backbone.name=$${runs}/sft_llama2_$*/seed_$${seed}/checkpoints/model'
	$(BIN)/python train.py $(SWEEP) experiment=extracted_llama2_$* model.depth=$(DEPTHS) \
		'run_dir=$${runs}/extracted_$${model.depth}/seed_$${seed}'
	$(BIN)/python -m belvedere.runs.compare runs/sorted_$* --output runs/sorted_$*

DEPTHS ?= 2,4,6,8
SWEEP = --multirun seed=$(SEEDS) runs=runs/sorted_$* hydra.sweep.dir=runs/sorted_$*/sweep \
	'run_dir=$${runs}/$${name}/seed_$${seed}' $(OPTIONS)

# What the tasks of pretraining are worth: all, low-level or high-level ones for equal steps, then each
# reader fine-tuned on questions. READER is where all start from, PRETRAIN and TUNE how long it takes.
READER ?= tiny
PRETRAIN ?= trainer.max_steps=300
TUNE ?= trainer.max_steps=300 model.optimisation.lr=3e-4
CHART_SEEDS ?= 1,2
TASKS = experiment=unichart_pretrain seed=$(CHART_SEEDS) runs=runs/chart_tasks \
	'run_dir=$${runs}/$(1)/$${label}/seed_$${seed}' 'hydra.sweep.dir=$${runs}/$(1)/sweep' $(OPTIONS)
compare-charts: $(READY)
	$(BIN)/python train.py --multirun +tasks=all,low_level,high_level init=$(READER) \
		$(call TASKS,pretrained) $(PRETRAIN)
	$(BIN)/python train.py --multirun +tasks=questions label=all_tasks,low_level_tasks,high_level_tasks \
		'init=$${runs}/pretrained/$${label}/seed_$${seed}' $(call TASKS,tuned) $(TUNE)
	$(BIN)/python -m belvedere.runs.compare runs/chart_tasks/pretrained --output runs/chart_tasks/pretrained
	$(BIN)/python -m belvedere.runs.compare runs/chart_tasks/tuned --output runs/chart_tasks/tuned

clean:
	rm -rf $(VENV) .cache
