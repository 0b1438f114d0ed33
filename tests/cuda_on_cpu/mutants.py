#!/usr/bin/env python3
"""Proves that the emulator would see a wrong kernel: plants faults in kernels/cuda, one by one, and runs the op
matrix, which must find each. Usage: mutants.py BUILD [NAME...]; BUILD is a folder of its own.

A fault is one piece of text for another, in a copy of kernels/cuda. What finds it is the first order of lanes,
warps and streams whose results are wrong, or that ends with a line."""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SECONDS = 300  # a fault may make a kernel go on for ever

# name, file of kernels/cuda, text, what stands there instead, and what finds it: cases of the op matrix, or
# those of another program.
PROGRAMS = {"prefill": "cuda_prefill_test", "queues": "cuda_queue_test", "graphs": "cuda_graphs_test", "rows": "cuda_rows_test", "cuDNN": "cuda_cudnn_test"}
MUTANTS = [
    ("a barrier before shared memory is read", "reduce.cuh",
     "sums[threadIdx.x / kWarp] = sum;\n  __syncthreads();", "sums[threadIdx.x / kWarp] = sum;", "LayerNorm"),
    ("a barrier before shared memory is written again", "reduce.cuh",
     "  __syncthreads();  // the last call's sums have been read\n", "", "LayerNorm"),
    ("a barrier between two uses of buckets", "sample.cuh", "    __syncthreads();  // the buckets are empty\n", "", "Sample"),
    ("a return before a barrier", "attention.cuh", "if (seen <= 0) return;",
     "if (seen <= thread) return;", "Attend "),
    ("a shuffle with the wrong lanes", "reduce.cuh", "x = fmaxf(x, ShuffleXor(x, mask));",
     "x = fmaxf(x, ShuffleXor(x, mask / 2));", "Attend "),
    ("a mask that lets a row see the next position", "attention.cuh",
     "const int row_seen = first_seen + row", "const int row_seen = 1 + first_seen + row", "Attend "),
    ("a split that loses the last span", "attention.cuh",
     "Merge(shares, first, spans_of(row), at)", "Merge(shares, first, spans_of(row) - 1, at)", "Attend "),
    ("scores of a head's last part alone", "attention.cuh",
     "first == 0 ? score : *to + score;", "score;", "Attend "),
    ("numbers beyond a head's last", "attention.cuh", "if (left >= kPer) return;", "return;", "Attend "),
    ("a step without its block's scale", "cached_vectors.cuh", "v[i] = scale * (", "v[i] = (", "Attend "),
    ("the largest of half of a block", "kv_rows.cuh", "mask < kWarp; mask *= 2) largest",
     "mask < kWarp / 2; mask *= 2) largest", "StoreKv"),
    ("a scale for every block but a row's first", "kv_rows.cuh", "if (at % kWarp == 0) reinterpret_cast",
     "if (at % kWarp == 0 && at > 0) reinterpret_cast", "StoreKv"),
    ("shares are joined a block early", "reduce.cuh", "== count - 1;", "== count - 2;", "rows"),
    ("a counter that is not zero again", "reduce.cuh", "    if (last[0]) *counter = 0;\n", "", "rows"),
    ("a row of one span waits for the others", "attention.cuh", "if (spans_of(row) == 1) continue;",
     "if (spans_of(row) == 0) continue;", "rows"),
    ("a write beyond shared memory", "attention.cuh", "SHARED_ARRAY(float, mixed, kWarps* kRows* kPart);",
     "SHARED_ARRAY(float, mixed, kWarps* kRows* kPart - 1);", "AttendAll"),
    ("a barrier between copies and their use, in attention", "full_attention.cuh",
     "    __syncthreads();  // all copies of this stage are there, and the stage before has been used\n", "", "AttendAll"),
    ("the next tile in this one's stage", "full_attention.cuh",
     "bring_stage(tile + 1, 1 - stage)", "bring_stage(tile + 1, stage)", "AttendAll"),
    ("values as they stand", "full_attention.cuh", "LoadMatricesTransposed(", "LoadMatrices(", "AttendAll"),
    ("a weight beyond the last row", "full_attention.cuh", "two + i % 2 < left", "two + i % 2 <= left", "AttendAll"),
    ("a sum relative to an older largest score", "full_attention.cuh", "      totals_[r] *= factor;\n", "", "AttendAll"),
    ("a stage of scores too early", "full_attention.cuh", "bring_stage(part + kStages - 1);", "bring_stage(part + kStages);",
     "AttendAll 72 rows"),
    ("scores of one part alone", "full_attention.cuh", "part < packed.parts; part++", "part < 1; part++", "AttendAll 72 rows"),
    ("weights that lose what bf16 has no room for", "full_attention.cuh", "low -= LowBf16(pair), high -= HighBf16(pair);",
     "low = high = 0;", "bf16 · f32"),
    ("the mean of a group without its channels' own", "group_norm.cuh", "sum += off + count_away;",
     "sum += off;", "GroupNorm"),
    ("a thread too many", "copies.cuh", "if (i >= rows * width) return;", "if (i > rows * width) return;", "Copy "),
    ("an event between queues", "queue.cu",
     """    Check(cudaStreamWaitEvent(stream(), event->get()), "waiting for another queue");\n""", "", "queues"),
    ("an event before memory comes back", "memory.cpp",
     "    cudaStreamWaitEvent(returning_, queue.given);\n", "", "queues"),
    ("a wait before numbers are fetched", "queue.cu",
     """  Check(cudaEventSynchronize(event->get()), "the device's work");\n""", "", "Upload"),
    ("a wait before pinned memory is written again", "queue.cu",
     "      if (head_ - tail_ <= kRingBytes) break;\n      moment", "      break;\n      moment", "queues"),
    ("the host reads the device's memory", "queue.cu", "    last = EndPiece(piece, target + first,",
     "    std::memcpy(piece, source, row_bytes);\n    last = EndPiece(piece, target + first,", "Upload"),
    ("two words of a tile's operand swapped", "tile_products.cuh",
     "make_uint4(two(row, first), two(row + 8, first),", "make_uint4(two(row + 8, first), two(row, first),", "bf16 · bf16 decode"),
    ("a wait that leaves a group of copies too many", "prefill_tiles.cuh",
     "WaitForCopies<kStages - 2>();", "WaitForCopies<kStages - 1>();", "prefill"),
    ("a stage too early", "prefill_tiles.cuh",
     "uint4* const stage = stages + number % kStages", "uint4* const stage = stages + (number + 1) % kStages", "prefill"),
    ("odd tiles' sums before they are there", "prefill_tiles.cuh",
     "    __syncthreads();  // the stages have been used, or the odd tiles' sums are there\n", "", "prefill"),
    ("a barrier between copies and their use", "prefill_tiles.cuh",
     "    __syncthreads();  // all copies of this stage are there, and the stage before has been used\n", "",
     "prefill"),
    ("a barrier before shares are added up", "decode_tiles.cuh",
     "    __syncthreads();\n    if (first_tile", "    if (first_tile", "bf16 · bf16 decode"),
    ("a warp too few of a sum", "decode_tiles.cuh", "for (int w = 0; w < kWarps; w++) {",
     "for (int w = 1; w < kWarps; w++) {", "bf16 · bf16 decode"),
    ("a kernel reads the host's memory", "queue_rows.cu", "{.weight = At<float>(weight),", "{.weight = &eps,", "RmsNorm"),
    ("a norm's scale of another row", "decode_tiles.cuh", "squares[w * kRows + row]", "squares[w * kRows]",
     "MultiplyNormed"),
    ("a step of a product in place of the next", "decode_tiles.cuh", "load(steps[i], step + kTurn);",
     "load(steps[i], step + kWarps);", "bf16 · bf16 decode"),
    ("a group's scale in all groups' place", "block_products.cuh", "scale[g * kRowsOfBlockTile] * scale_of_x",
     "scale[0] * scale_of_x", "blocks q8_0"),
    ("nibbles without their sign", "block_products.cuh", "kOnesBits + kStepOffset<B> * minus_sum;", "kOnesBits;", "blocks q4_0"),
    ("a minimum of another scale", "block_products.cuh", "min_at[g * kRowsOfBlockTile] * scale_of_x", "min_at[g * kRowsOfBlockTile]",
     "blocks q4_k"),
    ("a barrier before groups are joined", "block_products.cuh",
     "      __syncthreads();  // this turn's sums are there, and the last one's have been joined\n", "", "blocks q8_0"),
    ("a group with NaN as one of zeros", "blocks.cuh", "!finite ? FloatOf(0x7FC00000u) : counts", "counts", "blocks q8_0"),
    ("keys that are kept before they are rotated", "kv_rows.cuh",
     "    rotate(r.k + at, r.k + at + r.half);\n    store(r.k + at, r.k + at + r.half, pages.Keys(row, kv_head, position));",
     "    store(r.k + at, r.k + at + r.half, pages.Keys(row, kv_head, position));\n    rotate(r.k + at, r.k + at + r.half);",
     "RopeStoreKv"),
    ("a graph that finds its batch where an old one was", "graphs.cpp",
     "    const CudaKvBatch::Elsewhere moved(batch, graph.batch->data());\n", "", "graphs"),
    ("a graph kept for more positions than its grid has", "graphs.cpp",
     ".spans = batch.last_position() / kSpan,", ".spans = 0,", "graphs"),
    ("a capture that other threads' streams get into", "graphs.cpp", "    const auto alone = memory_.HoldStreams();\n", "", "graphs"),
    ("a graph kept for other buffers", "graphs.cpp",
     "    for (const View& view : views) now.addresses.push_back(Bytes(view));\n", "", "graphs"),
    ("a graph kept for other scratch", "graphs.cpp", "{scratch_.get(), counters_.get()}", "{counters_.get()}", "graphs"),
    ("a word of a convolution's weights in another's place", "conv_tiles.cuh",
     "row + term % kConvTileTerms / 8 * 2", "row * 2 + term % kConvTileTerms / 8", "bf16 stored bf16"),
    ("a tap of a convolution shifted by a pixel", "conv_patches.cuh",
     "(sizes_.width - sizes_.kernel) *", "(sizes_.width - sizes_.kernel + 1) *", "bf16 stored bf16"),
    ("numbers beside a convolution's map", "conv_tiles.cuh",
     "CopyAsyncCached(to, walk.At(i), there);", "CopyAsyncCached(to, walk.At(i), true);", "bf16 stored bf16"),
    ("a wait for a convolution's copies that leaves a group too many", "conv_tiles.cuh",
     "WaitForCopies<kStages - 2>();", "WaitForCopies<kStages - 1>();", "bf16 stored bf16"),
    ("a convolution's stage too early", "conv_tiles.cuh",
     "static_cast<unsigned>(step) % kStages", "static_cast<unsigned>(step + 1) % kStages", "bf16 stored bf16"),
    ("a barrier between a convolution's copies and their use", "conv_tiles.cuh",
     "    __syncthreads();  // all copies of this stage are there, and the stage before has been used\n", "",
     "bf16 stored bf16"),
    ("a barrier before a convolution's shares are joined", "conv_tiles.cuh",
     "  __syncthreads();  // the last stage has been used\n", "", "bf16 stored bf16"),
    ("a convolution's share in another's place", "conv_tiles.cuh", "(kShares - 1) + from - (from > tile)",
     "(kShares - 1) + from", "bf16 stored bf16"),
    ("a convolution by cuDNN without what is added", "cudnn_conv.cpp", "share = residual != nullptr ? 1 : 0;", "share = 0;",
     "cuDNN"),
    ("1 × 1 in bf16 by cuDNN", "cudnn_conv.cpp", "shape.type == DType::kBF16 && shape.kernel == 1", "false", "cuDNN"),
    ("a trial that no rounding in between shows in", "cudnn_conv.cpp", "return 300 + 8 * i;", "return i % 3;", "cuDNN"),
    ("weights that cuDNN rounds", "cudnn_conv.cpp", "!(has_bf16_ && Bf16Holds(weight) &&", "!(has_bf16_ &&", "cuDNN"),
    ("a stream that ends before cuDNN's handle", "queue.cu", "  cudnn_ = nullptr;                 // before its stream\n", "",
     "cuDNN"),
]


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def build(folder, copy):
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        configured = run(["cmake", "-S", HERE, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                          f"-DBIFRONS_CUDA_COPY={copy}"])
        if configured.returncode != 0:
            sys.exit(configured.stdout)
    built = run(["cmake", "--build", folder, "--target", "check_ops", *PROGRAMS.values()])
    if built.returncode != 0:
        sys.exit(built.stdout)


def found_by(folder, cases):
    """The first run that fails and its last words; none when all are right."""
    for order in range(4):
        if cases in PROGRAMS:
            command = [os.path.join(folder, PROGRAMS[cases])]
        else:
            command = [os.path.join(folder, "check_ops"), cases, str(order), str(order)]
        try:
            checked = run(command, timeout=SECONDS, env={**os.environ, "LD_LIBRARY_PATH": os.path.join(folder, "cudnn_whole")})
        except subprocess.TimeoutExpired:
            return order, f"no end in {SECONDS} s"
        if checked.returncode != 0:
            lines = checked.stdout.splitlines()
            words = [line for line in lines if "WRONG" in line or "cuda emulator:" in line or "FAILED" in line]
            return order, (words or [f"exit code {checked.returncode}"])[0]
    return None


def main():
    folder = os.path.abspath(sys.argv[1])
    names = sys.argv[2:]
    copy = os.path.join(folder, "copy")
    kernels = os.path.join(copy, "kernels", "cuda")
    shutil.rmtree(kernels, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "kernels", "cuda"), kernels)
    build(folder, copy)
    missed = []
    for name, file, text, instead, cases in MUTANTS:
        if names and name not in names:
            continue
        path = os.path.join(kernels, file)
        original = open(path).read()
        if original.count(text) != 1:
            sys.exit(f"{name}: {file} has this text {original.count(text)} times: {text}")
        right = found_by(folder, cases) if not names else None
        if right is not None:
            sys.exit(f"{name}: {cases} fails without the fault: {right[1]}")
        open(path, "w").write(original.replace(text, instead))
        build(folder, copy)
        found = found_by(folder, cases)
        open(path, "w").write(original)
        build(folder, copy)
        print(f"{name}: " + ("NOT found" if found is None else f"found in order {found[0]}: {found[1]}"), flush=True)
        if found is None:
            missed.append(name)
    sys.exit(len(missed) > 0)


main()
