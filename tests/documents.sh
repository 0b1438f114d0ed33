#!/usr/bin/env bash
# What the program tells of itself: completions load and complete in bash, zsh and fish, and manual pages pass mandoc's
# and man's lint (each where it is installed): bash tests/documents.sh PROGRAM SOURCE
# That each option of --help is in all of them is in usage_test.cpp.
set -euo pipefail
program=$(realpath "$1")
source_dir=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir bin folder man1
ln -s "$program" bin/bifrons
PATH=$work/bin:$PATH
touch 'only file.png' list.txt
failed=0

# check WHAT EXPECTED ACTUAL: lines of what is offered, in any order.
check() {
  local actual
  actual=$(sort <<< "$3" | tr '\n' '|')
  [ "$actual" = "$(sort <<< "$2" | tr '\n' '|')" ] || { echo "$1: offers $actual" >&2; failed=1; }
}
lines() { printf '%s\n' "$@"; }

# ---- bash: as readline calls it, with the words that it makes
source <(bifrons completion bash)
complete -p bifrons > /dev/null
bash_offers() {
  COMP_WORDS=(bifrons "$@")
  COMP_CWORD=$#
  _bifrons
  lines "${COMPREPLY[@]}"
}
check 'bash: gen' generate "$(bash_offers gen)"
check 'bash: vq' "$(lines encode decode roundtrip)" "$(bash_offers vq '')"
check 'bash: help vq en' encode "$(bash_offers help vq en)"
check 'bash: completion' "$(lines bash zsh fish)" "$(bash_offers completion '')"
check 'bash: --best' --best-of "$(bash_offers generate --best)"
check 'bash: a refused option' '' "$(bash_offers generate --st)"
check 'bash: an old spelling' '' "$(bash_offers trace --out --layers --outp | grep -x -- --out || true)"
check 'bash: --format' "$(lines png jpg jpeg webp)" "$(bash_offers generate --format '')"
check 'bash: --format=w' webp "$(bash_offers generate --format = w)"
check 'bash: --format=' "$(lines png jpg jpeg webp)" "$(bash_offers generate --format =)"
check 'bash: --dtype b' bf16 "$(bash_offers vq encode --dtype b)"
check 'bash: a file' 'only file.png' "$(bash_offers caption on)"
check 'bash: -o FILE' 'only file.png' "$(bash_offers generate -o on)"
check 'bash: -o FOLDER' "$(lines bin folder man1)" "$(bash_offers render list.txt -o '')"
check 'bash: -m FILE' 'only file.png' "$(bash_offers generate -m on)"
check 'bash: -m r' "$(lines random:janus-1.3b random:janus-pro-1b random:janus-pro-7b)" "$(bash_offers generate -m r)"
check 'bash: -m random:' "$(lines janus-1.3b janus-pro-1b janus-pro-7b)" "$(bash_offers generate -m random :)"
check 'bash: -m random:janus-p' "$(lines janus-pro-1b janus-pro-7b)" "$(bash_offers kl --model random : janus-p)"
check 'bash: kl random:janus-1' janus-1.3b "$(bash_offers kl random : janus-1)"
check 'bash: a number' '' "$(bash_offers generate --seed '')"
check 'bash: behind --' '' "$(bash_offers generate -- --be)"
check 'bash: a prompt that is a verb' --recursive "$(bash_offers caption generate --rec)"

# ---- zsh: a real line editor, the script sourced, and found by its name
if command -v zsh > /dev/null; then
  bifrons completion zsh > folder/_bifrons
  cat > zsh_test.zsh <<'END'
zmodload zsh/zpty
offered() {
  local line
  rm -f shown
  zpty -w -n shell "$1"$'\t\C-t'
  repeat 500; do [[ -s shown ]] && break; sleep 0.02; done
  line=$(<shown)
  [[ $line == "$2" ]] || { print -u2 "zsh, $mode: $1 becomes $line"; exit 1 }
}
for mode in sourced found; do
  zpty shell "TERM=xterm zsh -f -i 2> errors"
  [[ $mode == found ]] && zpty -w shell 'fpath=($PWD/folder $fpath)'
  zpty -w shell 'autoload -Uz compinit; compinit -D -u'
  [[ $mode == sourced ]] && zpty -w shell 'source <(bifrons completion zsh)'
  zpty -w shell 'show() { print -r -- "$BUFFER" > showing; mv showing shown; BUFFER= }; zle -N show; bindkey "^T" show'
  offered 'bifrons gene' 'bifrons generate '
  offered 'bifrons vq enc' 'bifrons vq encode '
  offered 'bifrons help vq enc' 'bifrons help vq encode '
  offered 'bifrons generate --best' 'bifrons generate --best-of='
  offered 'bifrons generate --steps' 'bifrons generate --steps'
  offered 'bifrons generate --format=we' 'bifrons generate --format=webp '
  offered 'bifrons vq decode --dtype b' 'bifrons vq decode --dtype bf16 '
  offered 'bifrons caption --recursive on' 'bifrons caption --recursive only\ file.png '
  offered 'bifrons generate -m random:janus-1' 'bifrons generate -m random:janus-1.3b '
  offered 'bifrons generate -m only' 'bifrons generate -m only\ file.png '
  offered 'bifrons render li' 'bifrons render list.txt '
  offered 'bifrons render -o fol' 'bifrons render -o folder/'
  zpty -d shell
done
END
  zsh -f zsh_test.zsh || failed=1
fi

# ---- fish
if command -v fish > /dev/null; then
  export XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data
  bifrons completion fish > bifrons.fish
  fish_offers() { fish --no-config -c 'source bifrons.fish; complete -C $argv[1]' -- "$1" | cut -f 1; }
  check 'fish: gen' generate "$(fish_offers 'bifrons gen')"
  check 'fish: vq' "$(lines encode decode roundtrip)" "$(fish_offers 'bifrons vq ')"
  check 'fish: help vq en' encode "$(fish_offers 'bifrons help vq en')"
  check 'fish: --best' --best-of "$(fish_offers 'bifrons generate --best')"
  check 'fish: --format' "$(lines png jpg jpeg webp)" "$(fish_offers 'bifrons generate --format ')"
  check 'fish: --format=w' --format=webp "$(fish_offers 'bifrons generate --format=w')"
  check 'fish: a file' 'only file.png' "$(fish_offers 'bifrons caption only')"
  check 'fish: -o FOLDER' folder/ "$(fish_offers 'bifrons render -o fol')"
  check 'fish: -m FILE' 'only file.png' "$(fish_offers 'bifrons generate -m only')"
  check 'fish: -m random:janus-1' random:janus-1.3b "$(fish_offers 'bifrons generate -m random:janus-1')"
  check 'fish: a prompt' '' "$(fish_offers 'bifrons generate on')"
  fish --no-config -c 'source bifrons.fish; complete -C "bifrons gen"' | grep -q 'Draw pictures'
fi

# ---- manual pages
bifrons man -o man1 > /dev/null
diff <(bifrons man vq encode) man1/bifrons-vq-encode.1
if command -v mandoc > /dev/null; then
  mandoc -T lint -W warning man1/* >&2 || failed=1
fi
if command -v man > /dev/null; then
  for page in man1/*; do man --warnings -Tutf8 -l -Z "$page" 2>> warnings > /dev/null; done
  [ ! -s warnings ] || { cat warnings >&2; failed=1; }
fi
# Terminals without UTF-8 have no ellipsis.
! grep -l u2026 man1/* >&2 || failed=1
# Every variable that the program reads, where one of them begins a description or stands in it.
for variable in $(grep -rhoE '(getenv|Environment|IsTrue)\("[A-Z_]+"' "$source_dir/src" | grep -oE '[A-Z]+_[A-Z_]+' | sort -u); do
  grep -q "$variable" man1/bifrons.1 || { echo "bifrons.1 lacks $variable" >&2; failed=1; }
done
exit $failed
