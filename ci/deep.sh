#!/usr/bin/env bash
# The longer proofs, and docs/PROOFS.md, which says what ran: commit, counts, seconds.
source "$(dirname "$0")/lib.sh"

# How long to fuzz, in seconds.
FUZZ_SECONDS=${FUZZ_SECONDS:-600}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
report=docs/PROOFS.md
commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain --untracked-files=no)" ] || commit="$commit, with changes"

{
    echo '# Proofs'
    echo
    echo 'Written by `ci/deep.sh`; not edited by hand.'
    echo
    echo "Commit $commit. $(uname -sr), $(rustc --version), $(nproc) processors, $(date -u +%F)."
    echo
    echo '| proof | seconds | result |'
    echo '|---|---:|---|'
} > "$report"

# prove NAME PATTERN COMMAND..: runs it, and keeps what matches, one line for each test program, as its result.
prove() {
    local name=$1 pattern=$2 began=$SECONDS
    shift 2
    step "$name" "$@" 2>&1 | tee "$log"
    local result
    result=$(grep -E "$pattern" "$log" | paste -sd ';' | sed 's/;/; /g')
    printf '| %s | %d | %s |\n' "$name" $((SECONDS - began)) "$result" >> "$report"
}

prove 'loom, ipc-sync' '^loom: ' env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
    cargo test -p ipc-sync --profile loom --test 'loom_*'
prove 'loom, ipc-shm' '^loom: ' env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom IPC_LOOM=deep \
    cargo test -p ipc-shm --profile loom --test 'loom_*'
prove 'loom, ipc-pool' '^loom: ' env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
    cargo test -p ipc-pool --profile loom --test 'loom_*'
for crate in ipc-sync ipc-shm; do
    prove "stepkill, $crate, all passes" '^stepkill: ' \
        env IPC_STEPKILL=deep cargo test -p "$crate" --release --test 'stepkill*'
done
for case in cycles_leave_nothing f05_children_beside_busy_threads; do
    prove "$case, 10,000 each" '^[0-9]+ (cycles|children) by' env IPC_CYCLES=deep IPC_CASE_SECONDS=900 \
        cargo test -p ipc-core --release --test call -- "$case"
done
prove 'an owner that is stopped for 10 s' '^test k24.*ok' env IPC_CYCLES=deep \
    cargo test -p ipc-sync --release --test mutex_owners -- k24
prove 'stepkill, controls' '^stepkill: ' cargo test -p ipc-testkit --release --test stepkill_controls
prove 'instructions of the fast paths' '^instructions: ' cargo test -p ipc-benches --release --test instructions
if cargo +nightly --version > /dev/null 2>&1; then
    cargo +nightly fuzz --version > /dev/null 2>&1 || cargo install --locked --root target/tools cargo-fuzz
    export PATH="$PWD/target/tools/bin:$PATH"
    for target in ring_spsc parcel; do
        # From the committed inputs on.
        mkdir -p "fuzz/corpus/$target"
        cp ipc-*/tests/corpus/"$target"/* "fuzz/corpus/$target"
        prove "fuzz, $target, $FUZZ_SECONDS s" 'Done [0-9]+ runs' \
            cargo +nightly fuzz run --fuzz-dir fuzz "$target" -- -max_total_time="$FUZZ_SECONDS" -malloc_limit_mb=64
    done
else
    echo '| fuzz | | SKIPPED: no nightly compiler is installed |' >> "$report"
fi
cat "$report"
