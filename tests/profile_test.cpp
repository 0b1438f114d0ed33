// What --profile counts: the work of every op by its arguments, for whom it was, on devices that work at once
// and on one that works late.
#include <catch2/catch.hpp>
#include <numeric>
#include <thread>

#include "kernels/device.h"
#include "src/engine/draw.h"
#include "src/engine/image_codes.h"
#include "src/engine/trace.h"
#include "tests/deferred_device.h"
#include "tests/run_program.h"
#include "tests/test_pictures.h"

namespace bifrons {
namespace {

std::unique_ptr<Device> Ref() { return std::move(*MakeDevice("ref", "", 1)); }

// The sum of the rows that `wanted` picks.
template <class Wanted>
Profile::Row Sum(const Profile& profile, const Wanted& wanted) {
  Profile::Row sum;
  for (const Profile::Row& row : profile.Rows()) {
    if (!wanted(row.place)) continue;
    sum.calls += row.calls, sum.bytes += row.bytes, sum.macs += row.macs, sum.seconds += row.seconds;
  }
  return sum;
}
Profile::Row Of(const Profile& profile, std::string_view part, Zone zone, int level = -1) {
  return Sum(profile, [&](const Place& place) { return place == Place{part, level, zone}; });
}

TEST_CASE("an op costs what its arguments say") {
  Profile profile;
  const auto device = Ref();
  const auto queue = device->MakeQueue();
  const std::vector<float> numbers(64, 0.5f);
  const TensorView matrix{numbers.data(), DType::kF32, {3, 5}};
  const auto linear = device->PackLinear({&matrix, 1}, {}, DType::kF32);
  const DeviceTensor x = device->NewTensor(DType::kF32, {2, 5}), y = device->NewTensor(DType::kF32, {2, 3});
  queue->Fill(x.view(), 1), queue->Fill(y.view(), 1);
  CHECK(profile.Rows().empty());  // nobody reports yet

  queue->ReportTo(profile, "q");
  queue->Multiply(*linear, x.view(), RowClass::kDecode, Epilogue::kNone, y.view());
  const auto weight = static_cast<int64_t>(linear->bytes);
  CHECK(Of(profile, "q", Zone::kProduct).macs == 2 * 3 * 5);
  CHECK(Of(profile, "q", Zone::kProduct).bytes == weight + 4 * (10 + 6));
  queue->Multiply(*linear, x.view(), RowClass::kDecode, Epilogue::kAdd, y.view());
  CHECK(Of(profile, "q", Zone::kProduct).bytes == 2 * weight + 4 * (10 + 6 + 10 + 12));
  CHECK(Of(profile, "q", Zone::kProduct).calls == 2);
  queue->Multiply(*linear, x.view().Rows(0, 0), RowClass::kDecode, Epilogue::kNone, y.view().Rows(0, 0));
  CHECK(Of(profile, "q", Zone::kProduct).calls == 2);  // nothing was done

  // Two heads of four, one of keys and values; three rows that see 5, 6 and 7 positions of one sequence.
  const auto pages = device->MakeKvPages(
      {.layers = 2, .kv_heads = 1, .head_dim = 4, .page_positions = 32, .type = DType::kF32});
  pages->Grow(1);
  const int32_t page = 0;
  const KvSpan spans[] = {{.rows = 2, .start = 0, .pages = {&page, 1}},
                          {.rows = 3, .start = 4, .pages = {&page, 1}}};
  const auto all = queue->MakeBatch(*pages, {spans, 2});
  CHECK(all->rows() == 5);
  CHECK(all->positions_read() == 2 + 7);
  CHECK(all->positions_seen() == 1 + 2 + 5 + 6 + 7);
  const KvSpan first{.rows = 7, .start = 0, .pages = {&page, 1}};
  const auto seven = queue->MakeBatch(*pages, {&first, 1});
  const DeviceTensor kv = device->NewTensor(DType::kF32, {7, 4});
  queue->Fill(kv.view(), 1);
  queue->StoreKv(kv.view(), kv.view(), *seven, 1);
  CHECK(Of(profile, "q", Zone::kStoreKv).bytes == 2 * (2 * 4 * 7 * 4));
  const auto batch = queue->MakeBatch(*pages, {&spans[1], 1});
  const DeviceTensor q = device->NewTensor(DType::kF32, {3, 8}), a = device->NewTensor(DType::kF32, {3, 8});
  queue->Fill(q.view(), 1);
  queue->Attend(q.view(), *batch, 1, a.view());
  CHECK(Of(profile, "q", Zone::kAttention).macs == 2 * 8 * (5 + 6 + 7));
  CHECK(Of(profile, "q", Zone::kAttention).bytes == 4 * (3 * 8 * 2 + 2 * 7 * 4));
}

TEST_CASE("work is counted for the innermost part and zone that its giver names") {
  Profile profile;
  const auto device = Ref();
  const auto queue = device->MakeQueue();
  queue->ReportTo(profile, "q");
  const DeviceTensor x = device->NewTensor(DType::kF32, {4});
  const auto fill = [&] { queue->Fill(x.view(), 0); };
  fill();
  {
    const Within part(*queue, "tower");
    fill();
    {
      const Within level(*queue, "tower", 3);
      const Within zone(*queue, Zone::kHead);
      fill();
    }
    fill();
  }
  fill();
  CHECK(Of(profile, "q", Zone::kFill).calls == 2);
  CHECK(Of(profile, "tower", Zone::kFill).calls == 2);
  CHECK(Of(profile, "tower", Zone::kHead, 3).calls == 1);
  CHECK(profile.Rows().size() == 4);  // and the rest
  CHECK_THAT(profile.Table(), Catch::Contains("tower, level 3: head"));
}

TEST_CASE("two queues report from two threads, and their rows add up to the run") {
  Profile profile;
  const auto device = Ref();
  const auto work = [&](Queue& queue) {
    const DeviceTensor x = device->NewTensor(DType::kF32, {100});
    const Within part(queue, "both");
    for (int i = 0; i < 1000; i++) queue.Fill(x.view(), 0);
  };
  const auto a = device->MakeQueue(), b = device->MakeQueue();
  a->ReportTo(profile, "a"), b->ReportTo(profile, "b");
  std::thread beside([&] { work(*b); });
  work(*a);
  beside.join();
  CHECK(Of(profile, "both", Zone::kFill).calls == 2000);
  CHECK(Of(profile, "both", Zone::kFill).bytes == 2000 * 400);
  const std::vector<Profile::Row> rows = profile.Rows();
  const double all = Sum(profile, [](const Place&) { return true; }).seconds;
  CHECK(all == Approx(2 * profile.Seconds()));
  CHECK(std::is_sorted(rows.begin(), rows.end(),
                       [](const Profile::Row& x, const Profile::Row& y) { return x.seconds > y.seconds; }));
}

std::unique_ptr<Janus> LoadTiny(std::unique_ptr<Device> device, std::shared_ptr<Profile> profile) {
  LoadOptions options;
  options.model = BIFRONS_TEST_DIR "/goldens/tiny-a/converted";
  options.compute = DType::kF32;
  options.parts.understanding = options.parts.vq_encoder = true;
  options.profile = std::move(profile);
  auto janus = Janus::Load(options, std::move(device));
  if (!janus.ok()) FAIL(janus.error().message);
  return std::move(*janus);
}

TEST_CASE("the networks' parts have the multiply-accumulates that their geometry asks for") {
  const auto profile = std::make_shared<Profile>();
  const auto janus = LoadTiny(Ref(), profile);
  const Image image = NoiseImage(13, 30, 5);
  const auto codes = EncodeImage(*janus, FitForCodes(*janus, image));
  REQUIRE(DecodeCodes(*janus, codes).ok());
  const DeviceTensor seen = janus->SeePixels(Preprocess(image, janus->image_processor()).view());
  const auto convolved = [&](std::string_view part) {
    return Sum(*profile, [&](const Place& p) { return p.part == part && p.zone == Zone::kConvolution; }).macs;
  };
  CHECK(convolved("vq decoder") == janus->vq().ConvolutionMacs());
  CHECK(convolved("vq encoder") == janus->vq_encoder().ConvolutionMacs());
  CHECK(Sum(*profile, [](const Place& p) { return p.part == "vision tower"; }).macs ==
        janus->siglip().Macs());
  for (int level = 0; level < static_cast<int>(janus->config().vq.channel_multiplier.size()); level++) {
    CHECK(Of(*profile, "vq decoder", Zone::kConvolution, level).macs > 0);
    CHECK(Of(*profile, "vq encoder", Zone::kConvolution, level).macs > 0);
  }

  // Of two rows at the positions after a prompt.
  REQUIRE(TraceCodes(*janus, "a dog", std::span(codes).first(2)).ok());
  const LlamaConfig& c = janus->config().llama;
  const int64_t heads = c.heads * c.head_dim, kv_heads = c.kv_heads * c.head_dim;
  CHECK(Of(*profile, "decode", Zone::kQkv).macs == 2 * c.layers * c.hidden * (heads + 2 * kv_heads));
  CHECK(Of(*profile, "decode", Zone::kAttentionOut).macs == 2 * c.layers * c.hidden * heads);
  CHECK(Of(*profile, "decode", Zone::kFeedForward).macs == 2 * c.layers * 3 * c.hidden * c.intermediate);
  CHECK(Of(*profile, "prefill", Zone::kStoreKv).calls == 2 * c.layers);
  CHECK(Of(*profile, "steps", Zone::kHead).calls == 2 * 2);
}

TEST_CASE("a device that works late reports the same work, once it is done") {
  const auto profile = std::make_shared<Profile>(), expected = std::make_shared<Profile>();
  const auto late = LoadTiny(MakeDeferredDevice(1, 1), profile), ref = LoadTiny(Ref(), expected);
  for (Janus* janus : {late.get(), ref.get()}) {
    const DeviceTensor ids = janus->device().NewTensor(DType::kI32, {3});
    janus->steps().Fill(ids.view(), 1);
    const DeviceTensor x = janus->device().NewTensor(DType::kF32, {3, janus->config().llama.hidden});
    janus->EmbedImageTokens(janus->steps(), ids.view(), x.view());
    if (janus == late.get()) CHECK(Sum(*profile, [](const Place&) { return true; }).calls == 0);
    janus->steps().Wait(janus->steps().Record());
  }
  for (const Profile::Row& row : expected->Rows()) {
    const Profile::Row same = Sum(*profile, [&](const Place& place) { return place == row.place; });
    INFO(row.place.part << " " << NameOf(row.place.zone));
    CHECK((same.calls == row.calls && same.bytes == row.bytes && same.macs == row.macs));
  }
  CHECK(Of(*profile, "steps", Zone::kEmbed).seconds > 0);
}

TEST_CASE("--profile tells where the time went and changes nothing else") {
  const TemporaryFolder folder;
  const std::string model = BIFRONS_TEST_DIR "/goldens/tiny-a/converted";
  Arguments draw = {"generate", "--model", model, "--seed", "5", "-o", folder / "a.png", "a dog"};
  CHECK_THAT(RunWell(draw).err, !Catch::Contains("arithmetic"));
  const std::string picture = ReadText(folder / "a.png");
  draw[6] = folder / "b.png";
  draw.push_back("--profile");
  const std::string table = RunWell(draw).err;
  CHECK(ReadText(folder / "b.png") == picture);
  for (const char* row :
       {"decode: qkv", "decode: attention", "prefill: feed-forward", "steps: head", "steps: sample",
        "vq decoder, level 1: convolution", "images: download", "steps: waiting and rest", "run, which"})
    CHECK_THAT(table, Catch::Contains(row));

  const Arguments ask = {"ask", "--model", model, "--profile", folder / "a.png", "What?"};
  CHECK_THAT(RunWell(ask).err,
             Catch::Contains("vision tower: patch embedding") && Catch::Contains("aligner: product"));
  // A model that is not there did nothing.
  const ProgramResult wrong = RunProgram({"ask", "--model", folder / "none", "--profile", "What?"});
  CHECK(wrong.exit_code == 3);
  CHECK_THAT(wrong.err, !Catch::Contains("arithmetic"));
}

}  // namespace
}  // namespace bifrons
