#!/bin/bash
# Long test: openai_batch.py with the version of OpenAI's package that it names, installed into FOLDER, once.
# usage: openai_batch.sh FOLDER goldens|program …
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
shift
package=$(sed -n 's/^requirements: //p' "$here/openai_batch.py")
if ! [ -e "$venv/$package" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet "$package"
  touch "$venv/$package"
fi
exec "$venv/bin/python" "$here/openai_batch.py" "$@"
