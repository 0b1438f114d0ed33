// The backends that the tests of the vision networks run on.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

#include "kernels/backend.h"
#include "src/base/check.h"
#include "src/base/npy.h"

namespace bifrons {

/// "cpu" is the set that tests.cmake names, or the best where this processor lacks it: oneDNN's is chosen
/// once per process.
inline const Ops& Backend(const std::string& name) {
  const char* wanted = std::getenv("BIFRONS_TEST_ISA");
  std::string isa = wanted && name == "cpu" ? wanted : "";
  const auto available = AvailableIsas();
  if (std::find(available.begin(), available.end(), isa) == available.end()) isa = "";
  auto ops = ChooseOps(name, isa);
  BIFRONS_CHECK(ops.ok());
  return **ops;
}

/// goldens/{name}.npy
inline Tensor ReadGolden(const std::string& name) {
  auto t = ReadNpy(std::string(BIFRONS_TEST_DIR) + "/goldens/" + name + ".npy");
  BIFRONS_CHECK(t.ok(), "no golden %s", name.c_str());
  return std::move(t).value();
}

}  // namespace bifrons
