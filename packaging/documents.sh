#!/bin/sh
# What a built program tells of itself, as it is installed: completions of three shells, compressed manual pages:
# documents.sh PROGRAM FOLDER
set -eu
rm -rf "$2"
mkdir -p "$2"
for shell in bash zsh fish; do "$1" completion $shell > "$2/$shell"; done
"$1" man -o "$2/man1" > /dev/null
gzip -9n "$2"/man1/*.1
