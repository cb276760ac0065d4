#!/usr/bin/env bash
# The test command of the README, word for word: it is taken from there.
source "$(dirname "$0")/lib.sh"

command=$(grep -m1 -x 'cargo test --workspace --release' README.md)
step test bash -c "$command"
