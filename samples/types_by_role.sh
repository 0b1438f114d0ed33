#!/usr/bin/env bash
# What weights in blocks cost by what they do: in turn each role's matrices alone get a type, the rest stay as they are,
# and `bifrons kl` compares with the model as stored (f32 arithmetic on both sides). What only answers read (lm_head,
# aligner in part, vision) costs drawing nothing. src/model/weight_type.cpp's `mixed` is chosen by it.
# Usage: bash samples/types_by_role.sh [options of bifrons kl, e.g. -m MODEL -n 4]
set -euo pipefail
cd "$(dirname "$0")/.."
bifrons=build/release/bifrons
[ -x "$bifrons" ] || { echo "build first: bash samples/quickstart.sh" >&2; exit 1; }

printf '%-9s %9s %9s %9s   mean KL in 1e-6 nats\n' role q8_0 q4_k q4_0
for role in embed qkv o gate_up down gen_head aligner; do
  printf '%-9s' "$role"
  for type in q8_0 q4_k q4_0; do
    "$bifrons" kl --type "bf16,$role=$type" --dtype f32 --kv 16 --json -q "$@" | sed 's/.*"kl_mean":\([^,}]*\).*/\1/' |
      awk '{printf " %9.2f", $1 * 1e6}'
  done
  echo
done
