#!/usr/bin/env bash
# What would be published: the files of each crate, and that they build as a package without the
# rest of this repository.
source "$(dirname "$0")/lib.sh"

# A folder of its own for each run: cargo remembers what it unpacked by the folder, and would build
# an older package of the same version.
mkdir -p target
folder=$(mktemp -d "$PWD/target/package-XXXXXX")
trap 'rm -rf "$folder"' EXIT

packages=()
for crate in "${PUBLISHED[@]}"; do packages+=(-p "$crate"); done
step package cargo package "${packages[@]}" --allow-dirty --locked --target-dir "$folder"
