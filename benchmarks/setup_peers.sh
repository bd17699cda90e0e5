#!/bin/sh
# Puts Metaflow into an environment of its own, .venv-metaflow, where benchmarks/run.py finds it.
set -eu
cd "$(dirname "$0")/.."
[ -x .venv-metaflow/bin/python ] || .venv/bin/python -m venv .venv-metaflow
# Metaflow imports pkg_resources in places, which newer setuptools no longer bring.
.venv-metaflow/bin/python -m pip install --quiet --disable-pip-version-check metaflow 'setuptools<80'
.venv-metaflow/bin/python -c 'import importlib.metadata as m; print("metaflow", m.version("metaflow"))'
