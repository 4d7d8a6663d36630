# `make demo` and `make test` set themselves up: a virtual environment in .venv, made once and shared.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint results clean

demo: .venv/ready
	$(BIN)/attar demo

test: .venv/ready
	$(BIN)/pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Everything under results/quality that is not there yet; needs MNIST and CIFAR-10 under DATA, and hours.
results: .venv/ready
	$(BIN)/python benchmarks/quality.py --root $(DATA)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo runs
