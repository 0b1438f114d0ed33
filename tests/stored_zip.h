// Zip archives of stored members, as PyTorch writes them.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bifrons {

/// `members` are names and contents. With `claimed_size`, entries say that they inflate to so many bytes.
inline std::string Zip(const std::vector<std::pair<std::string, std::string>>& members,
                       uint64_t claimed_size = 0) {
  std::string file, directory;
  const auto number = [](std::string* to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to->push_back(static_cast<char>(value >> (8 * i)));
  };
  for (const auto& [name, data] : members) {
    const uint64_t offset = file.size(), size = claimed_size ? claimed_size : data.size();
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()));
    const auto common = [&](std::string* to) {
      number(to, claimed_size ? 8 : 0, 2);  // deflated, when the size is a lie
      number(to, 0, 4);
      number(to, crc, 4), number(to, data.size(), 4), number(to, size, 4), number(to, name.size(), 2),
          number(to, 0, 2);
    };
    number(&file, 0x04034B50, 4), number(&file, 20, 2), number(&file, 0, 2);
    common(&file);
    file += name + data;
    number(&directory, 0x02014B50, 4), number(&directory, 20, 2), number(&directory, 20, 2),
        number(&directory, 0, 2);
    common(&directory);
    number(&directory, 0, 2), number(&directory, 0, 2), number(&directory, 0, 2), number(&directory, 0, 4);
    number(&directory, offset, 4);
    directory += name;
  }
  const uint64_t start = file.size();
  file += directory;
  number(&file, 0x06054B50, 4), number(&file, 0, 4), number(&file, members.size(), 2),
      number(&file, members.size(), 2);
  number(&file, directory.size(), 4), number(&file, start, 4), number(&file, 0, 2);
  return file;
}

}  // namespace bifrons
