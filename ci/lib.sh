# Shared by the scripts of this folder. Source it.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Runs a step, and prints what it took as it ends.
step() {
    local name=$1 began=$SECONDS
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    "$@"
    printf '==> %s took %d s\n' "$name" $((SECONDS - began))
}

# The crates that are published, lowest first.
PUBLISHED=(ipc-core ipc-sync ipc-shm ipc-pool)
