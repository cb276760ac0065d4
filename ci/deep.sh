#!/usr/bin/env bash
# The longer proofs, and docs/PROOFS.md, which says what ran: commit, day, seconds, counts.
#
#     ci/deep.sh              all of them: some hours
#     ci/deep.sh NAME..       those whose name contains one of these; the other rows stay as they are
#     ci/deep.sh --list       their names
source "$(dirname "$0")/lib.sh"

# How long to fuzz each target, in seconds.
FUZZ_SECONDS=${FUZZ_SECONDS:-600}

report=docs/PROOFS.md
wanted=("$@")
log=$(mktemp)
rows=$(mktemp -d)
trap 'rm -rf "$log" "$rows"' EXIT
commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain --untracked-files=no -- ":!$report")" ] || commit="$commit, changed"

names=()

is_wanted() {
    local part
    for part in "${wanted[@]}"; do
        [[ $1 != *"$part"* ]] || return 0
    done
    [ ${#wanted[@]} -eq 0 ]
}

# prove NAME PATTERN COMMAND..: runs it if it is asked for, and keeps what matches, one line for each test program, as its
# result. A proof that fails leaves no row.
prove() {
    local name=$1 pattern=$2 began=$SECONDS result
    shift 2
    if [ "$listing" = yes ]; then
        names+=("$name")
        return
    fi
    is_wanted "$name" || return 0
    rm -f "$rows/$name"
    write_report
    step "$name" "$@" 2>&1 | tee "$log"
    result=$(grep -E "$pattern" "$log" | paste -sd ';' | sed 's/;/; /g')
    printf '| %s | %s | %s | %d | %s |\n' \
        "$name" "$commit" "$(date -u +%F)" $((SECONDS - began)) "$result" > "$rows/$name"
    write_report
}

write_report() {
    local name
    {
        echo '# Proofs'
        echo
        echo 'Written by `ci/deep.sh`; not edited by hand. Each row says at which commit its proof ran last.'
        echo
        echo "$(uname -sr), $(rustc --version), $(nproc) processors."
        echo
        echo '| proof | commit | day | seconds | result |'
        echo '|---|---|---|---:|---|'
        for name in "${names[@]}"; do
            if [ -e "$rows/$name" ]; then cat "$rows/$name"; fi
        done
    } > "$report"
}

# models CRATE, steps CRATE: each test program is a proof of its own.
models() {
    local test
    for test in "$1"/tests/loom_*.rs; do
        test=$(basename "$test" .rs)
        prove "$1 $test" '^loom: ' env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom IPC_LOOM=deep \
            cargo test -p "$1" --profile loom --test "$test"
    done
}
steps() {
    local test
    for test in "$1"/tests/stepkill*.rs; do
        test=$(basename "$test" .rs)
        prove "$1 $test" '^stepkill: ' env IPC_STEPKILL=deep cargo test -p "$1" --release --test "$test"
    done
}

proofs() {
    local crate case target
    for crate in ipc-sync ipc-shm ipc-pool; do models "$crate"; done
    for crate in ipc-sync ipc-shm; do steps "$crate"; done
    for case in cycles_leave_nothing f05_children_beside_busy_threads; do
        prove "$case, 10,000 each" '^[0-9]+ (cycles|children) by' env IPC_CYCLES=deep IPC_CASE_SECONDS=900 \
            cargo test -p ipc-core --release --test call -- "$case"
    done
    prove 'regions of every sort, 10,000 cycles each' '^[0-9]+ cycles' env IPC_CYCLES=deep IPC_CASE_SECONDS=900 \
        cargo test -p ipc-shm --release --test named --test read_only -- l01
    prove 'names of regions, races and kills' '^test k12.*ok' env IPC_CYCLES=deep IPC_CASE_SECONDS=900 \
        cargo test -p ipc-shm --release --test named -- k12
    prove 'a ring of many, 10^9 messages and half an hour of kills' '^soak: ' env IPC_SOAK=deep IPC_CASE_SECONDS=2400 \
        cargo test -p ipc-shm --release --test mpmc_processes
    prove 'protocol of the mpmc ring, all interleavings with two kills' '^model: [0-9]' env IPC_MODEL=deep \
        cargo test -p ipc-shm --release --test mpmc_protocol -- nothing --nocapture
    # Each of its scenarios has one of these in its name.
    for case in 'stamped' 'indexed' 'bytes' 'records' 'pollable' 'h15' 'of many'; do
        prove "hostile peers, every attack: $case" '^stepmutate: ' env IPC_STEPKILL=deep \
            cargo test -p ipc-shm --release --test hostile -- "$case"
    done
    prove 'hostile peers, AddressSanitizer' '^stepmutate: ' hostile_with_sanitizer
    prove 'an owner that is stopped for 10 s' '^test k24.*ok' env IPC_CYCLES=deep \
        cargo test -p ipc-sync --release --test mutex_owners -- k24
    prove 'controls of stepkill' '^stepkill: ' cargo test -p ipc-testkit --release --test stepkill_controls
    prove 'instructions of the fast paths' '^instructions: ' cargo test -p ipc-benches --release --test instructions
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        prove "fuzz $target, $FUZZ_SECONDS s" 'Done [0-9]+ runs' fuzz "$target"
    done
    prove 'fuzz finds planted bugs' '^planted: ' planted_bugs
}

# The standard library is not instrumented; what the tests leave mapped on purpose is no leak.
hostile_with_sanitizer() {
    IPC_INSTRUMENTED=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR=target/asan \
        cargo +nightly test -p ipc-shm --release --target "$(rustc -vV | sed -n 's/^host: //p')" --test hostile
}

# From the committed inputs on.
fuzz() {
    fuzzing_inputs "$1" "fuzz/corpus/$1"
    cargo +nightly fuzz run --fuzz-dir fuzz "$1" -- -max_total_time="$FUZZ_SECONDS" -malloc_limit_mb=64
}

# fuzzing_inputs TARGET FOLDER: puts the committed inputs there, and the tool where it is found. What is an input for any ring
# of slots is one for each.
fuzzing_inputs() {
    local inputs=$1
    case $1 in ring_spsc | ring_indexed) inputs=rings ;; esac
    export PATH="$PWD/target/tools/bin:$PATH"
    if ! cargo +nightly fuzz --version > /dev/null 2>&1; then
        cargo install --locked --root target/tools cargo-fuzz
    fi
    mkdir -p "$2"
    cp ipc-*/tests/corpus/"$inputs"/* "$2"
}

# The control of the fuzzing: each target must find the bug that the feature `planted-bug` puts into what it tests, within a
# minute, from the committed inputs on and from nothing else. A target that ends for another reason has not found it.
planted_bugs() {
    local target folder began
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        folder=$rows/planted-$target
        fuzzing_inputs "$target" "$folder/corpus" || return
        mkdir -p "$folder/found"
        cargo +nightly fuzz build --fuzz-dir fuzz --features planted-bug "$target" || return
        began=$SECONDS
        if cargo +nightly fuzz run --fuzz-dir fuzz --features planted-bug "$target" "$folder/corpus" \
            -- -max_total_time=60 -malloc_limit_mb=64 -artifact_prefix="$folder/found/" > "$folder/log" 2>&1; then
            echo "$target: the planted bug is not found in 60 s"
            return 1
        fi
        # The panic of the harness itself, and the input that leads to it.
        if ! grep -q "panicked at fuzz_targets/$target.rs" "$folder/log" || [ -z "$(ls "$folder/found")" ]; then
            cat "$folder/log"
            return 1
        fi
        echo "planted: $target, found after $((SECONDS - began)) s"
    done
}

listing=yes
proofs
if [ "${wanted[*]:-}" = --list ]; then
    printf '%s\n' "${names[@]}"
    exit
fi
for name in "${names[@]}"; do
    grep -F "| $name |" "$report" > "$rows/$name" || rm "$rows/$name"
done
listing=no
proofs
cat "$report"
