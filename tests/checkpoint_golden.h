// Compares a checkpoint with what PyTorch said it holds (tests/goldens/make_checkpoints.py).
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "src/model/checkpoint/checkpoint.h"

inline std::string GoldenFolder(const std::string& name) {
  return std::string(BIFRONS_TEST_DIR) + "/goldens/checkpoints/" + name;
}

inline float ElementOf(const bifrons::TensorView& view, int64_t i) {
  using namespace bifrons;
  switch (view.dtype) {
    case DType::kF32:
      return view.as<float>()[i];
    case DType::kBF16:
      return ToFloat(view.as<BF16>()[i]);
    case DType::kF16:
      return ToFloat(view.as<F16>()[i]);
    default:
      FAIL("unexpected type");
      return 0;
  }
}

/// Every tensor PyTorch lists is there, with its shape and exactly its values.
inline void CheckAgainstPyTorch(const bifrons::Checkpoint& checkpoint, const std::string& folder) {
  std::ifstream in(folder + "/expected.json");
  const nlohmann::json expected = nlohmann::json::parse(in);
  for (const auto& [name, tensor] : expected.items()) {
    INFO(folder << ": " << name);
    const bifrons::StoredTensor* stored = checkpoint.Find(name);
    REQUIRE(stored != nullptr);
    CHECK(stored->dims == tensor["dims"].get<std::vector<int64_t>>());
    const std::string dtype = tensor["dtype"];
    const bool loadable = dtype == "float32" || dtype == "bfloat16" || dtype == "float16";
    REQUIRE(stored->loadable == loadable);
    bifrons::Tensor owner;
    const auto view = bifrons::Materialise(name, *stored, &owner);
    REQUIRE(view.ok() == loadable);
    if (!loadable) continue;
    const std::vector<double> values = tensor["values"];
    REQUIRE(view->shape.elements() == static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); i++) {
      if (static_cast<double>(ElementOf(*view, static_cast<int64_t>(i))) != values[i]) FAIL("element " << i);
    }
  }
}

inline std::vector<uint8_t> ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}
