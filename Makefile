# Thin: every word is `python3 tools/dev.py WORD`, which also works where make is missing.
# Arguments: make swarm SEEDS=2000; make test ARGS="tests/hub -k report"; make demo ARGS=--help.
PYTHON ?= python3
DEV = $(PYTHON) tools/dev.py

help:
	@$(DEV) --help

setup demo demo-flood test check coverage bench states schema lock:
	@$(DEV) $@ $(ARGS)

soak:
	@$(DEV) bench soak $(ARGS)

attack:
	@$(DEV) bench attack $(ARGS)

SEEDS ?= 200
swarm:
	@$(DEV) swarm --seeds $(SEEDS) $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build run *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup demo demo-flood test check bench attack soak swarm states schema lock clean
