#!/bin/bash
# Long tests: a Python script with the version of the package that it names ("requirements: …"), installed into FOLDER,
# once.
# usage: with_package.sh FOLDER SCRIPT …
set -eu
venv=$1
script=$2
shift 2
package=$(sed -n 's/^requirements: //p' "$script")
if ! [ -e "$venv/$package" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet "$package"
  touch "$venv/$package"
fi
exec "$venv/bin/python" "$script" "$@"
