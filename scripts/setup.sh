#!/usr/bin/env bash
# Install everything a CPU machine needs into a virtual environment: scripts/setup.sh [.venv]
#
# vLLM's CPU package asks, in its metadata, for torchvision, torchaudio, torchcodec and triton, which break its import next to a
# CPU build of torch. So its real needs are listed in requirements/, and it is installed itself without dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${1:-.venv}"
python="${PYTHON:-python3}"

"$python" -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 13) else "HiPER needs Python 3.11 or 3.12; set PYTHON=python3.11")'
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install --constraint requirements/constraints.txt)

step() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$1"; }
step "1/5 torch"
"${pip[@]}" torch==2.13.0
step "2/5 what vLLM on CPU imports"
"${pip[@]}" --requirement requirements/serve-cpu.txt
step "3/5 vLLM"
"${pip[@]}" --no-deps --requirement requirements/serve-cpu-nodeps.txt
step "4/5 HiPER"
"${pip[@]}" --editable '.[local,learner,tracing,kubernetes,dev]'
"${pip[@]}" --no-deps --requirement requirements/dev-nodeps.txt
step "5/5 DeepSpeed"
# Published as source, which looks at the torch that is installed. None of its own operators is built: the learner uses none.
# Everything but a learner of several processes goes without it.
DS_BUILD_OPS=0 "${pip[@]}" --no-build-isolation deepspeed 2>"$venv/deepspeed.log" ||
  echo "DeepSpeed could not be built, so its tests will skip: see $venv/deepspeed.log" >&2
step "done: $venv/bin/hiper --help"
