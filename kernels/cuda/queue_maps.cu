// Launches of the cuda queue's ops on tokens and on feature maps.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cuda/conv.h"
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/group_norm.cuh"
#include "kernels/cuda/maps.cuh"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/sample.cuh"

namespace bifrons::cuda {
namespace {

// ---- group normalisation ----------------------------------------------------------------------------------

struct GroupNormTask {
  View in, gamma, beta, out;
  int groups;
  float eps;
  bool silu;
};

// Tiles of maps [pixels, channels] for threads that take kCount channels at once.
template <class T, int kCount>
NormTiling TilingOf(const View& in) {
  const int64_t channels = in.shape[2];
  const auto columns = static_cast<int>(std::min<int64_t>(channels / kCount, kNormThreads));
  return {.pixels = in.shape[0] * in.shape[1],
          .channels = channels,
          .columns = columns,
          .tile_pixels = int64_t{kNormThreads / columns} * kNormPixels<T>};
}

// scratch(bytes) is memory of the GPU.
template <class T, int kCount, class Scratch>
void LaunchGroupNorm(cudaStream_t stream, const GroupNormTask& task, const Scratch& scratch) {
  const NormTiling tiling = TilingOf<T, kCount>(task.in);
  const dim3 grid(Blocks(tiling.pixels, tiling.tile_pixels),
                  Blocks(tiling.channels, int64_t{tiling.columns} * kCount));
  const int64_t tiles = grid.x, numbers = tiles * tiling.channels;
  auto* const moments =
      reinterpret_cast<Moments*>(scratch(static_cast<size_t>(numbers) * sizeof(Moments) +
                                         2 * static_cast<size_t>(tiling.channels) * sizeof(float)));
  float* const scale = reinterpret_cast<float*>(moments + numbers);
  float* const shift = scale + tiling.channels;
  Launch(ChannelMomentsKernel<T, kCount>, grid, kNormThreads, 0, stream, tiling, At<T>(task.in), moments);
  Launch(GroupScaleKernel, task.groups, kScaleThreads, 0, stream, tiling, moments, tiles,
         tiling.channels / task.groups, task.eps, At<float>(task.gamma), At<float>(task.beta), scale, shift);
  Launch(task.silu ? ScaleShiftKernel<T, kCount, true> : ScaleShiftKernel<T, kCount, false>, grid,
         kNormThreads, 0, stream, tiling, At<T>(task.in), scale, shift, At<T>(task.out));
}

template <class T, class Scratch>
void LaunchGroupNorm(cudaStream_t stream, const GroupNormTask& task, const Scratch& scratch) {
  constexpr int kCount = kPerVector<T>;
  const bool vectors =
      task.in.shape[2] % kCount == 0 && Aligned16(Bytes(task.in)) && Aligned16(Bytes(task.out));
  if (vectors) {
    LaunchGroupNorm<T, kCount>(stream, task, scratch);
  } else {
    LaunchGroupNorm<T, 1>(stream, task, scratch);
  }
}

// ---- upsampling -------------------------------------------------------------------------------------------

template <class Unit>
void LaunchUpsample2x(cudaStream_t stream, const View& in, const View& out) {
  const int64_t height = in.shape[0], width = in.shape[1];
  const int64_t units =
      static_cast<int64_t>(BytesOf(in.type, in.shape[2])) / static_cast<int64_t>(sizeof(Unit));
  const dim3 grid(Blocks(width * units, kMapThreads), static_cast<unsigned>(std::min(height, kMaxGridYz)));
  Launch(Upsample2xKernel<Unit>, grid, kMapThreads, 0, stream, reinterpret_cast<const Unit*>(Bytes(in)),
         height, width, units, reinterpret_cast<Unit*>(Bytes(out)));
}

// ---- tokens -----------------------------------------------------------------------------------------------

SampleTask TaskOf(const SampleRequest& request, const View& logits, const View& tokens) {
  const Sampling& sampling = request.sampling;
  const float* const row = At<float>(logits) + request.row * logits.stride;
  return {.conditional = row,
          .unconditional = request.paired ? row + logits.stride : nullptr,
          .token = At<int32_t>(tokens) + request.to,
          .guidance = sampling.guidance,
          .divisor = sampling.temperature == 0 ? 1 : sampling.temperature,
          .greedy = sampling.temperature == 0,
          .top_k = sampling.top_k,
          .top_p = static_cast<double>(sampling.top_p),
          .log_min_p = sampling.min_p > 0 ? std::log(static_cast<double>(sampling.min_p))
                                          : -std::numeric_limits<double>::infinity(),
          .noise = {request.noise.seed, request.noise.position, static_cast<uint32_t>(request.noise.stream)}};
}

}  // namespace

void CudaQueue::DoSample(View logits, std::span<const SampleRequest> requests, View tokens) {
  const int64_t n = logits.width(), stride = (n + 3) / 4 * 4;
  BIFRONS_CHECK(n >= 1 && n <= kMaxSampledRow, "a row of %lld logits", static_cast<long long>(n));
  const size_t at_once = std::min<size_t>(requests.size(), kSampleTasks);
  float* const values = Scratch<float>(static_cast<int64_t>(at_once) * stride);
  for (size_t first = 0; first < requests.size(); first += at_once) {
    const size_t count = std::min(at_once, requests.size() - first);
    SampleTasks tasks = {};
    for (size_t i = 0; i < count; i++) tasks.task[i] = TaskOf(requests[first + i], logits, tokens);
    Launch(SampleKernel, static_cast<unsigned>(count), kSampleThreads, 0, stream(), tasks, n, values, stride);
  }
}

void CudaQueue::DoConvolve(const Conv2d& conv, View in, View residual, View out) {
  const cudaStream_t own = stream();
  const auto* of_cudnn = dynamic_cast<const CudnnConv*>(&conv);
  if (of_cudnn == nullptr) return cuda::Convolve(own, conv, in, residual, out);
  if (cudnn_ == nullptr) {
    const auto alone = memory_.HoldStreams();  // the library may wait for the whole device meanwhile
    cudnn_ = std::make_unique<CudnnHandle>(of_cudnn->cudnn, own);
  }
  cuda::Convolve(*cudnn_, *of_cudnn, in, residual, out, ScratchBytes(of_cudnn->workspace_bytes));
}

void CudaQueue::DoGroupNorm(View in, View gamma, View beta, int groups, float eps, bool silu, View out) {
  if (in.shape.elements() == 0) return;
  const GroupNormTask task{in, gamma, beta, out, groups, eps, silu};
  const auto scratch = [this](size_t bytes) { return ScratchBytes(bytes); };
  if (in.type == DType::kBF16) {
    LaunchGroupNorm<BF16>(stream(), task, scratch);
  } else {
    LaunchGroupNorm<float>(stream(), task, scratch);
  }
}

void CudaQueue::DoUpsample2x(View in, View out) {
  if (in.shape.elements() == 0) return;
  if (static_cast<int64_t>(BytesOf(in.type, in.shape[2])) % 16 == 0 && Aligned16(Bytes(in)) &&
      Aligned16(Bytes(out))) {
    LaunchUpsample2x<uint4>(stream(), in, out);
  } else if (BytesOf(in.type, 1) == sizeof(uint32_t)) {
    LaunchUpsample2x<uint32_t>(stream(), in, out);
  } else {
    LaunchUpsample2x<uint16_t>(stream(), in, out);
  }
}

void CudaQueue::DoUnfoldPatches(View picture, int64_t patch, View rows) {
  if (rows.rows() == 0) return;
  Launch(UnfoldPatchesKernel, static_cast<unsigned>(rows.rows()), kMapThreads, 0, stream(),
         static_cast<const float*>(At<float>(picture)), picture.shape[0], picture.shape[1], picture.shape[2],
         patch, At<float>(rows));
}

void CudaQueue::DoNearestCodeword(View z, View codebook, View squares, View codes) {
  if (z.rows() == 0) return;
  const size_t shared = static_cast<size_t>(z.width()) * kCodewordRows * sizeof(float);
  constexpr size_t kOwn = 1024;  // the kernel's, at most
  if (shared > kSharedWithoutAsking - kOwn) AllowShared(NearestCodewordKernel, shared);
  Launch(NearestCodewordKernel, Blocks(z.rows(), kCodewordRows), kCodewordThreads, shared, stream(),
         At<float>(z), z.rows(), z.width(), At<float>(codebook), codebook.width(), At<float>(squares),
         At<int32_t>(codes));
}

void CudaQueue::DoToBytes(View in, View out) {
  const int64_t n = in.shape.elements();
  if (n == 0) return;
  if (n % 4 == 0 && Aligned16(Bytes(in)) && Aligned16(Bytes(out))) {
    Launch(ToBytesKernel<4>, Blocks(n / 4, kMapThreads), kMapThreads, 0, stream(), At<float>(in), n,
           At<uint8_t>(out));
  } else {
    Launch(ToBytesKernel<1>, Blocks(n, kMapThreads), kMapThreads, 0, stream(), At<float>(in), n,
           At<uint8_t>(out));
  }
}

}  // namespace bifrons::cuda
