// Checkpoints' files with other names for their tensors.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/model/checkpoint/checkpoint.h"
#include "src/model/checkpoint/zip.h"
#include "tests/run_program.h"
#include "tests/stored_zip.h"

namespace bifrons {

/// From a tensor's name to the one it gets; empty leaves the tensor out (of a pickle: it cannot).
using Rename = std::function<std::string(const std::string&)>;

/// A safetensors file with the tensors of `file`.
inline std::string RenamedSafetensors(const fs::path& file, const Rename& rename) {
  const std::string bytes = ReadText(file);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  const auto header = nlohmann::ordered_json::parse(bytes.substr(8, size));
  auto renamed = nlohmann::ordered_json::object();
  std::string data;
  for (const auto& [name, tensor] : header.items()) {
    const std::string other = name == "__metadata__" ? "" : rename(name);
    if (other.empty()) continue;
    const uint64_t begin = tensor["data_offsets"][0], end = tensor["data_offsets"][1];
    renamed[other] = tensor;
    renamed[other]["data_offsets"] = {data.size(), data.size() + end - begin};
    data += bytes.substr(8 + size + begin, end - begin);
  }
  const std::string text = renamed.dump();
  size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + text + data;
}

/// A PyTorch archive with the tensors of `file`, whose pickle is of protocol 2.
inline std::string RenamedPytorch(const fs::path& file, const Rename& rename) {
  const auto checkpoint = Checkpoint::Open(file.parent_path().string(), Checkpoint::Prefer::kPytorch);
  REQUIRE(checkpoint.ok());
  const std::string bytes = ReadText(file);
  const auto zip =
      ZipArchive::Open({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, file.string());
  REQUIRE(zip.ok());
  const auto text = [](const std::string& name) {  // the opcode BINUNICODE
    const auto size = static_cast<uint32_t>(name.size());
    return "X" + std::string(reinterpret_cast<const char*>(&size), 4) + name;
  };
  std::vector<std::pair<std::string, std::string>> members;
  for (const auto& [name, entry] : zip->entries()) {
    REQUIRE_FALSE(entry.deflated);
    std::string contents(entry.data.begin(), entry.data.end());
    if (name.ends_with("/data.pkl")) {
      for (const auto& [tensor, stored] : checkpoint->tensors()) {
        const size_t at = contents.find(text(tensor));
        REQUIRE(at != std::string::npos);
        contents.replace(at, text(tensor).size(), text(rename(tensor)));
      }
    }
    members.emplace_back(name, contents);
  }
  return Zip(members);
}

}  // namespace bifrons
