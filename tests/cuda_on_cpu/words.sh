#!/usr/bin/env bash
# What kernels/cuda may use of CUDA: bash tests/cuda_on_cpu/words.sh [OBJECT...]
# Its sources use no assembler and no intrinsic but in portable.cuh and intrinsics.cuh, and no #ifdef __CUDACC__ or
# __CUDA_ARCH__ elsewhere. Objects that nvcc made of them call nothing of the runtime that the emulator does not
# stand in for.
set -euo pipefail
cd "$(dirname "$0")/../.."
status=0
fail() { echo "$1"; status=1; }

allowed='__syncthreads|__launch_bounds__|__align__'
for source in kernels/cuda/*; do
  case $source in */portable.cuh | */intrinsics.cuh) continue ;; esac
  code=$(sed 's|//.*||' "$source")
  if words=$(grep -oE '\basm\b|\b__[a-z0-9_]+ *\(' <<< "$code" | grep -vE "^($allowed) *\(" | sort -u); then
    fail "$source: $(tr '\n' ' ' <<< "$words")"
  fi
  if grep -qE '__CUDACC__|__CUDA_ARCH__' <<< "$code"; then fail "$source: asks who compiles it"; fi
done

# nvcc calls some by itself, and a template of the header's by its name in C.
by_itself='cudaLaunchKernel|cudaLaunchKernelExC'
known=$(grep -oE '\bcuda[A-Z][A-Za-z0-9]*\(' tests/cuda_on_cpu/include/cuda_runtime.h | tr -d '(' | sort -u)
for object in "$@"; do
  undefined=$(nm -u "$object")
  needed=$(grep -oE '\bcuda[A-Z][A-Za-z0-9]*$' <<< "$undefined" | grep -vxE "$by_itself" | sort -u || true)
  if unknown=$(comm -23 <(echo "$needed") <(echo "$known") | grep .); then
    fail "$object: the emulator has no $(tr '\n' ' ' <<< "$unknown")"
  fi
done
exit $status
