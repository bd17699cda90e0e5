# Short names for the project's commands. Each does its own set-up; none is needed to use the project.

.PHONY: setup test flights check bench peers clean

setup:            ## all that development needs, in .venv
	scripts/setup dev

test: setup       ## the whole suite
	.venv/bin/pytest -n auto

flights:          ## the example on real data
	scripts/setup && .venv/bin/asyncflow run examples/flights.py

check:            ## all that must hold before a change lands
	.ci/run

bench: setup      ## measure, and print; benchmarks/README.md says how
	.venv/bin/python benchmarks/run.py

peers: setup      ## Metaflow in an environment of its own, for the benchmark
	benchmarks/setup_peers.sh

clean:            ## what can be made again
	rm -rf .venv .venv-* dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/results
