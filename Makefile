# Needs Python >= 3.11 and make, nothing else. Writes to .venv/ and to folders that git ignores.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile
export JUPYTER_DATA_DIR := $(CURDIR)/.venv/share/jupyter
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:           ## this list
	@sed -n 's/^\([a-z]*:\).*## /make \1\t/p' Makefile | expand -t 18

lab: $(READY)   ## open the book in JupyterLab, at chapter 00 (more options for jupyter: make lab ARGS=...)
	$(BIN)/jupyter trust chapters/*.ipynb exercises/*/*.ipynb
	$(BIN)/jupyter lab chapters/00_*.ipynb $(ARGS)

quick: $(READY) ## lint, types and unit tests, no notebooks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST) --ignore tests/book

test: quick     ## everything: also the notebooks, the exercises and the grading
	$(PYTEST) --nbval --nbval-sanitize-with tests/book/sanitize.cfg tests/book chapters solutions

exercises: $(READY) ## cut exercises/ out of solutions/
	for folder in solutions/*/; do $(BIN)/nbgrader generate_assignment --force $$(basename $$folder) || exit 1; done

book: $(READY)  ## execute every chapter and solution again, in place
	$(BIN)/python -m llama_mini.teach.map chapters/map.svg
	$(BIN)/python -m llama_mini.teach.glossary chapters/glossary.toml chapters/glossary.md
	OMP_NUM_THREADS=1 $(BIN)/python tests/book/execute.py

bench: $(READY) ## measure speed: against this machine's ceilings, and against what a user would pick instead
	$(BIN)/python -m llama_mini bench
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e '.[book,data,grade,test,cli,log]'
	touch $@

.PHONY: help lab quick test exercises book bench
