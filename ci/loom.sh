#!/usr/bin/env bash
# The model checks: every interleaving, every kill point, and the faults that must be revealed.
# Arguments are handed to the test programs: a part of the names of the cases to run.
source "$(dirname "$0")/lib.sh"

export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# explore CRATE TEST ARGUMENT..: one model check, whose output comes in one piece.
explore() {
    local log=$LOGS/$2 status=0
    cargo test -p "$1" --profile loom --test "$2" --locked -- "${@:3}" > "$log" 2>&1 || status=$?
    flock "$LOGS" cat "$log"
    return "$status"
}
export -f explore
export LOGS=$logs

for crate in ipc-sync ipc-shm ipc-pool; do
    step "build loom $crate" cargo test -p "$crate" --profile loom --test 'loom_*' --locked --no-run
    # A model check has one thread and no clock: as many at a time as there are processors.
    tests=()
    for test in "$crate"/tests/loom_*.rs; do tests+=("$(basename "$test" .rs)"); done
    step "loom $crate" xargs -P "$(nproc)" -I{} bash -c 'explore "$@"' explore "$crate" {} "$@" \
        < <(printf '%s\n' "${tests[@]}")
done
