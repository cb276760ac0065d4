#!/usr/bin/env bash
# The test command of the README, word for word: it is taken from there. Then what it cannot build.
source "$(dirname "$0")/lib.sh"

# What is tested with a program in Python must not be left out here.
export IPC_PYTHON=required

command=$(grep -m1 -x 'cargo test --workspace --release' README.md)
step test bash -c "$command"
# Programs that turn aside in their `main`, or nowhere: with the feature `pre-main` there are none.
step test-without-pre-main cargo test -p ipc-core --no-default-features --features serde --test zygote_init --locked
# A feature that nothing else turns on.
step test-lock-api cargo test -p ipc-sync --release --features lock_api --test lock_api --locked
