#!/usr/bin/env bash
# Builds the audit webhook sender of a real API server from the published Go modules: Go 1.26 or later, a minute the
# first time.
# Usage: build.sh FILE. Nothing is done where the file is newer than what it is built of.
set -euo pipefail
target=$(realpath -m "$1")
cd "$(dirname "$0")"
if [ "$target" -nt main.go ] && [ "$target" -nt go.mod ]; then exit 0; fi
mkdir -p "$(dirname "$target")"
go build -trimpath -buildvcs=false -p 2 -o "$target"
