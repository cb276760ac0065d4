#!/usr/bin/env bash
# Every test that SECURITY.md and docs/FAULTS.md name exists.
source "$(dirname "$0")/lib.sh"

missing=0
# Words in backquotes that are a path of a test file, or look like the name of a test case.
while read -r name; do
    case $name in
        */*) [ -e "$name" ] || { echo "named but not there: $name"; missing=1; } ;;
        *) grep -rqw --include='*.rs' -- "$name" ipc-*/src ipc-*/tests \
            || { echo "no test is called $name"; missing=1; } ;;
    esac
done < <(sed -n '/^| /p' SECURITY.md docs/FAULTS.md | grep -oE '`([a-z0-9_-]+/[a-z0-9_/-]+\.rs|[a-z0-9]+(_[a-z0-9]+)+)`' | tr -d '`' | sort -u)
[ "$missing" -eq 0 ] && echo 'every promise names tests that exist'
exit "$missing"
