#!/usr/bin/env bash
# Formatting, clippy in every configuration, and the documentation; warnings are errors.
source "$(dirname "$0")/lib.sh"

packages=()
for crate in "${PUBLISHED[@]}"; do packages+=(-p "$crate"); done

step format cargo fmt --all --check
# Packages with a workspace of their own.
for package in fuzz benches/peers ipc-shm/tests/no_{std,panic}_proof; do
    step "format $package" cargo fmt --manifest-path "$package/Cargo.toml" --check
done
step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
step clippy-no-std cargo clippy -p ipc-core -p ipc-sync -p ipc-shm --no-default-features --locked -- -D warnings
step clippy-lock-api cargo clippy -p ipc-sync --features lock_api --all-targets --locked -- -D warnings
step clippy-loom env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
    cargo clippy -p ipc-core -p ipc-sync -p ipc-shm -p ipc-pool --lib --test 'loom_*' --locked -- -D warnings
step promises ci/promises.sh
step docs env RUSTDOCFLAGS="-D warnings" cargo doc "${packages[@]}" --features ipc-sync/lock_api --no-deps --locked
