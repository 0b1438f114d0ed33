#!/bin/bash
# Long test: hub_oracle.py with the version of the hub's client that it names, installed into FOLDER, once.
# usage: hub_oracle.sh FOLDER BIFRONS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
package=$(sed -n 's/^requirements: //p' "$here/hub_oracle.py")
if ! [ -e "$venv/$package" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet "$package"
  touch "$venv/$package"
fi
exec "$venv/bin/python" "$here/hub_oracle.py" "$2"
