#!/usr/bin/env bash
# Everything that needs a GPU, for a machine with CUDA, Python 3.11 or 3.12 and torch, and no network.
#
#     bash benchmarks/gpu.sh            results in ./out: gpu.json, gpu.md, prediction.json, attribution*.json, variants.json, evaluation.txt, tests.txt, machine.txt
#     OUT=/tmp/x PYTHON=python3.12 SITE=.gpu/site BUDGET=400 bash benchmarks/gpu.sh
#
# SITE may hold packages that the machine lacks. To fill it on a machine with a network:
#     pip install --target .gpu/site --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 \
#         --no-deps pydantic pydantic-core annotated-types typing-extensions typing-inspection click pytest pluggy iniconfig
#
# The parts are independent: each says what it lacks, and the others run. Exits with 1 if the benchmark failed.
set -u
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-./out}
PYTHON=${PYTHON:-python3}
SITE=${SITE:-.gpu/site}
mkdir -p "$OUT"
# SITE comes last, so that the machine's own torch and numpy win.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
[ -d "$SITE" ] && PYTHONPATH="$PYTHONPATH:$PWD/$SITE"
export PYTHONUNBUFFERED=1

{
  date
  nvidia-smi 2>&1 | head -20
  "$PYTHON" - <<'PYTHON_CODE'
import importlib, sys
print("python", sys.version)
needed = ["torch", "numpy", "pydantic", "click"]  # benchmark
useful = ["pytest", "triton", "pandas", "pyfaidx", "safetensors", "tangermeme", "selene_sdk", "kipoi"]  # tests
for name in needed + useful:
    try:
        module = importlib.import_module(name)
        print(f"{name} {getattr(module, '__version__', 'present')}")
    except Exception as error:
        print(f"{name} MISSING ({type(error).__name__}: {error}){' - the benchmark needs it' if name in needed else ''}")
try:
    import torch
    print("CUDA", torch.version.cuda, torch.cuda.is_available(), torch.cuda.device_count())
except Exception as error:
    print("no torch:", error)
PYTHON_CODE
} 2>&1 | tee "$OUT/machine.txt"

# One file at a time: a file whose imports are missing cannot keep the others from running.
: > "$OUT/tests.txt"
for file in $(grep -l 'pytest.mark.gpu' tests/test_*.py); do
  echo "== $file" | tee -a "$OUT/tests.txt"
  timeout 120 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider "$file" 2>&1 | tail -15 | tee -a "$OUT/tests.txt"
done

DEVICE=${DEVICE:-cuda}
"$PYTHON" benchmarks/throughput.py --device "$DEVICE" --out "$OUT" --budget "${BUDGET:-400}" ${QUICK:+--quick} 2>&1 | tee "$OUT/throughput.txt"
status=${PIPESTATUS[0]}

# `predict` needs more packages than the rest (pandas, pyarrow, pysam); where they are missing it says so.
windows=${QUICK:+2000}
timeout 300 "$PYTHON" benchmarks/prediction.py --device "$DEVICE" --json "$OUT/prediction.json" --windows "${windows:-100000}" \
  --speed-windows "${windows:-200000}" --repeats 3 2>&1 | tail -20 | tee "$OUT/prediction.txt"

sequences=${QUICK:+2}
# Attribution needs tangermeme; captum is compared where it is there.
timeout 300 "$PYTHON" benchmarks/attribution.py --device "$DEVICE" --json "$OUT/attribution.json" --no-slow \
  --sequences "${sequences:-16}" 2>&1 | tail -20 | tee "$OUT/attribution.txt"
timeout 200 "$PYTHON" benchmarks/attribution_rivals.py --device "$DEVICE" --json "$OUT/attribution_rivals.json" \
  ${QUICK:+--repeats 1} 2>&1 | tail -20 | tee "$OUT/attribution_rivals.txt"
timeout 300 "$PYTHON" benchmarks/variants.py --device "$DEVICE" --json "$OUT/variants.json" --no-memory ${QUICK:+--repeats 1} 2>&1 | tail -20 | tee "$OUT/variants.txt"
# Training, scoring and data efficiency in one: the packaged example, baselines trained on the device.
example=configs/example
chromtransfer() { timeout 200 "$PYTHON" -c 'from chromtransfer_plugin.cli import main; main()' "$@" 2>&1; }
chromtransfer evaluate --genome $example/genome.fa.gz --train $example/HEPG2.csv --test $example/HEPG2.csv --line HEPG2 \
  --test-chromosome chr2 --test-chromosome chr3 --baseline kmer --baseline binary --set max_epochs=2 --network width=0.25 \
  --device "$DEVICE" --out "$OUT/evaluation" | tail -5 | tee "$OUT/evaluation.txt"
chromtransfer efficiency --genome $example/genome.fa.gz --train $example/HEPG2.csv --positive HEPG2 --pretrained pretrained \
  --fraction 0.5 --fraction 1 --draws 2 --device "$DEVICE" --out "$OUT/efficiency" | tail -8 | tee "$OUT/efficiency.txt"
exit "$((status != 0))"
