#!/usr/bin/env bash
# What fewmask does on a GPU, in one prepared run of less than ten minutes: the tests marked gpu, then steps side by side
# (benchmarks/gpu.py), then rows of the comparison benchmark in the time that is left.
#
#   benchmarks/gpu.sh prepare [DATA WEIGHTS]   here: wheels for Python 3.12, a data set and weights, into .gpu/
#   benchmarks/gpu.sh run [PART...]            on the GPU: tests, steps, compare (all of them if none is named)
#   benchmarks/gpu.sh dry FOLDER               here: the same parts, tiny and on any device, with their rows in FOLDER
#
# The machine of `run` needs Python 3.12 and torch; nothing is fetched there. DATA is the folder camvid, idd_lite or
# neu_seg, and WEIGHTS a file named after its encoder. Rows are appended to benchmarks/*.csv, and rows that stand are not
# measured again. If OUT is set, tables and logs are copied into that folder after every part. Seconds of the parts:
# TESTS_S, STEPS_S, COMPARE_S. Other words for the comparison: COMPARE_ARGS; another command in its place: COMPARE.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
KEPT=.gpu
COMPARED="--arms harness --seeds 0 --lists 12 --passes 5 --methods augseg fixmatch class_bank unimatch"
PACKAGES="einops kornia kornia_rs lightning-fabric pydantic pydantic_core annotated-types typing-inspection segmentation_models_pytorch beartype"

prepare() {
    mkdir -p $KEPT/wheels || exit 1
    local platforms=() pinned=()
    for number in 5 12 17 24 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${number}_x86_64"); done
    for name in $PACKAGES; do pinned+=("$(grep -i "^${name//_/[-_]}==" constraints.txt)"); done
    "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" --platform manylinux2014_x86_64 -d $KEPT/wheels "${pinned[@]}" || exit 1
    local state=""
    git diff --quiet HEAD -- src 'benchmarks/*.py' || state=+
    echo "$(git rev-parse --short HEAD)$state" >$KEPT/commit
    if [ $# -gt 0 ]; then
        rm -rf $KEPT/data $KEPT/weights && mkdir -p $KEPT/data $KEPT/weights || exit 1
        cp -rL "$1" $KEPT/data/ && cp -L "${2:?name a file of weights, too}" $KEPT/weights/ || exit 1
    fi
    du -sh $KEPT
    echo "Carry $KEPT to the GPU beside the checkout, and run: benchmarks/gpu.sh run"
}

bring() { # the wheels, where they are not installed yet
    local site=${TMPDIR:-/tmp}/fewmask-site
    if ls $KEPT/wheels/*.whl >/dev/null 2>&1; then
        "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" \
            $KEPT/wheels/*.whl || exit 1
    fi
    export PYTHONPATH="src:benchmarks:$site" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=4
    [ -f $KEPT/commit ] && BENCHMARK_COMMIT=$(cat $KEPT/commit) && export BENCHMARK_COMMIT
    "$PYTHON" -c 'import torch, fewmask; print("torch", torch.__version__, "cuda", torch.cuda.is_available())' || exit 1
}

part() { # part NAME SECONDS COMMAND...: a part that fails or takes too long does not stop the next one
    local name=$1 seconds=$2 begin=$SECONDS log=$LOGS/gpu_$1.log
    shift 2
    echo "== $name, at most $seconds s"
    timeout --kill-after=10 "$seconds" "$@" >"$log" 2>&1
    local code=$?
    tail -n 40 "$log"
    echo "== $name ended with $code after $((SECONDS - begin)) s"
    [ $code -ne 0 ] && FAILED="$FAILED $name"
    if [ -n "${OUT:-}" ]; then cp "$log" benchmarks/gpu_*.csv benchmarks/fewmask_bench*.csv "$OUT"/ 2>/dev/null; fi
    return 0
}

compare() { # the comparison benchmark on the carried data; rows that it cannot end in time are left out
    if [ -n "${COMPARE:-}" ]; then
        part compare "$1" bash -c "$COMPARE"
    elif [ -d $KEPT/data ]; then
        local sets=() weights=()
        for folder in $KEPT/data/*; do sets+=("$(basename "$folder")"); done
        for file in $KEPT/weights/*; do weights+=("$(basename "$file" | sed -E 's/(_imagenet)?\..*//')=$file"); done
        part compare "$1" "$PYTHON" benchmarks/fewmask_bench.py $KEPT/data --sets "${sets[@]}" \
            --weights "${weights[@]}" --devices 0 ${COMPARE_ARGS:-$COMPARED}
    else
        echo "== compare: no data was carried; prepare DATA WEIGHTS copies it"
    fi
}

run() {
    LOGS=${OUT:-$KEPT}
    mkdir -p "$LOGS"
    bring
    local parts=${*:-tests steps compare} steps_s=${STEPS_S:-250}
    for name in $parts; do
        case $name in
        tests) part tests "${TESTS_S:-200}" "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider --tb=short \
            -n "${TEST_PROCESSES:-6}" tests/methods/test_gpu.py tests/training/test_capture_gpu.py ;;
        steps) part steps "$((steps_s + 60))" "$PYTHON" benchmarks/gpu.py --seconds "$steps_s" ;;
        compare) compare "${COMPARE_S:-100}" ;;
        *) echo "there is no part $name: tests, steps, compare" && exit 2 ;;
        esac
    done
}

dry() { # the tests marked gpu are collected, and skipped, by every run of the tests
    LOGS=$1
    mkdir -p "$LOGS"
    export PYTHONPATH=src:benchmarks
    part steps 580 "$PYTHON" benchmarks/gpu.py --dry --seconds 570 --repeats 1 --out "$LOGS"
    compare 580
}

FAILED=""
case ${1:-} in
prepare | run) "$@" ;;
dry) dry "${2:?name the folder of the rows}" ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
[ -z "$FAILED" ] || { echo "failed:$FAILED" && exit 1; }
