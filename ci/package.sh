#!/usr/bin/env bash
# What would be published: the files of each crate, and that they build as a package without the
# rest of this repository.
source "$(dirname "$0")/lib.sh"

packages=()
for crate in "${PUBLISHED[@]}"; do packages+=(-p "$crate"); done
step package cargo package "${packages[@]}" --allow-dirty --locked
