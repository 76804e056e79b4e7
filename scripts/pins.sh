#!/bin/sh
# Writes the lists of pins in requirements/ anew, with the newest versions that the package index has.
# The two lists for Airflow stand alone; dev.txt, postgres.txt and build.txt hold only what neither of those brings.
set -eu
cd "$(dirname "$0")/../requirements"
uv=../.venv/bin/uv
[ -x "$uv" ] || { echo "pins: run 'make setup' first, it brings uv" >&2; exit 1; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

compile() { "$uv" pip compile -q --universal --no-annotate --no-header --python-version 3.11 "$@"; }
names() { sed 's/==.*//' "$@" | sort -u; }

compile airflow-3.3.in -o airflow-3.3.txt --upgrade
compile airflow-3.1.in -o airflow-3.1.txt --upgrade -c airflow-3.3.txt 2>/dev/null ||
    compile airflow-3.1.in -o airflow-3.1.txt --upgrade
for list in dev postgres build; do
    compile "$list.in" -c airflow-3.3.txt >"$work/$list.txt"
    names airflow-3.3.txt >"$work/have"
    sed 's/==.*//' "$work/$list.txt" | paste -d' ' - "$work/$list.txt" |
        while read -r name pin; do grep -qxF "$name" "$work/have" || echo "$pin"; done >"$list.txt"
done
