#!/usr/bin/env bash
# The model checks: every interleaving, every kill point, and the faults that must be revealed.
# Arguments are handed to the test programs: a part of the names of the cases to run.
source "$(dirname "$0")/lib.sh"

export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom
for crate in ipc-sync ipc-shm ipc-pool; do
    step "loom $crate" cargo test -p "$crate" --profile loom --test 'loom_*' --locked -- "$@"
done
