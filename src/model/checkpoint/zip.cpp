#include "src/model/checkpoint/zip.h"

#include <zlib.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "src/base/printable.h"
#include "src/model/checkpoint/byte_reader.h"

namespace bifrons {
namespace {

constexpr uint32_t kLocalHeader = 0x04034B50, kCentralHeader = 0x02014B50, kEnd = 0x06054B50;
constexpr uint32_t kZip64End = 0x06064B50, kZip64Locator = 0x07064B50;
constexpr size_t kEndSize = 22, kLocatorSize = 20, kCentralSize = 46;
constexpr uint64_t kMaxDeflateRatio = 1032;  // what deflate's format can reach

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

/// The end record is last, but for its own comment: the one whose comment reaches exactly to the end of the
/// file.
std::optional<size_t> FindEnd(std::span<const uint8_t> bytes) {
  if (bytes.size() < kEndSize) return std::nullopt;
  const size_t last = bytes.size() - kEndSize;
  const size_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (size_t p = last + 1; p-- > first;) {
    uint32_t signature = 0;
    uint16_t comment = 0;
    if (ByteReader(bytes, p).Read(&signature) && signature == kEnd &&
        ByteReader(bytes, p + 20).Read(&comment) && p + kEndSize + comment == bytes.size()) {
      return p;
    }
  }
  return std::nullopt;
}

/// Returns what is wrong, or nothing.
std::string ReadZip64End(std::span<const uint8_t> bytes, size_t end, Directory* directory) {
  if (end < kLocatorSize) return "lacks its zip64 end record";
  ByteReader locator(bytes, end - kLocatorSize);
  uint32_t signature = 0, disk = 0, disks = 0;
  uint64_t offset = 0;
  if (!locator.Read(&signature) || signature != kZip64Locator || !locator.Read(&disk) ||
      !locator.Read(&offset) || !locator.Read(&disks) || offset >= end) {
    return "lacks its zip64 end record";
  }
  ByteReader record(bytes, offset);
  uint64_t size = 0, entries_here = 0;
  uint32_t disk_here = 0, disk_directory = 0;
  if (!record.Read(&signature) || signature != kZip64End || !record.Read(&size) || !record.Skip(4) ||
      !record.Read(&disk_here) || !record.Read(&disk_directory) || !record.Read(&entries_here) ||
      !record.Read(&directory->entries) || !record.Read(&directory->size) ||
      !record.Read(&directory->offset)) {
    return "has a damaged zip64 end record";
  }
  if (disk != 0 || disks > 1 || disk_here != 0 || disk_directory != 0 || entries_here != directory->entries) {
    return "is one part of several";
  }
  return "";
}

/// Returns what is wrong, or nothing.
std::string ReadDirectory(std::span<const uint8_t> bytes, Directory* directory) {
  const std::optional<size_t> end = FindEnd(bytes);
  if (!end) return "has no end record: it is cut short, or no zip archive";
  ByteReader reader(bytes, *end + 4);
  uint16_t disk = 0, disk_directory = 0, entries_here = 0, entries = 0;
  uint32_t size = 0, offset = 0;
  if (!reader.Read(&disk) || !reader.Read(&disk_directory) || !reader.Read(&entries_here) ||
      !reader.Read(&entries) || !reader.Read(&size) || !reader.Read(&offset)) {
    return "has a damaged end record";
  }
  *directory = {entries, size, offset};
  if (entries == 0xFFFF || size == 0xFFFFFFFF || offset == 0xFFFFFFFF) {
    if (std::string problem = ReadZip64End(bytes, *end, directory); !problem.empty()) return problem;
  } else if (disk != 0 || disk_directory != 0 || entries_here != entries) {
    return "is one part of several";
  }
  if (directory->offset > *end || directory->size > *end - directory->offset) {
    return "has a central directory outside the file";
  }
  if (directory->entries > directory->size / kCentralSize) return "has fewer entries than it claims";
  return "";
}

struct CentralEntry {
  std::string_view name, extra;
  uint16_t flags = 0, method = 0;
  uint64_t compressed = 0, inflated = 0, offset = 0;
};

/// The zip64 field holds only those values that did not fit, in this order.
bool ApplyZip64(CentralEntry* e) {
  const std::span<const uint8_t> extra(reinterpret_cast<const uint8_t*>(e->extra.data()), e->extra.size());
  ByteReader reader(extra);
  uint16_t id = 0, size = 0;
  while (reader.Read(&id) && reader.Read(&size)) {
    if (size > reader.remaining()) return false;
    if (id != 1) {
      if (!reader.Skip(size)) return false;
      continue;
    }
    ByteReader field(extra.subspan(reader.position(), size));
    if (e->inflated == 0xFFFFFFFF && !field.Read(&e->inflated)) return false;
    if (e->compressed == 0xFFFFFFFF && !field.Read(&e->compressed)) return false;
    return e->offset != 0xFFFFFFFF || field.Read(&e->offset);
  }
  return e->inflated != 0xFFFFFFFF && e->compressed != 0xFFFFFFFF && e->offset != 0xFFFFFFFF;
}

bool ReadCentralEntry(ByteReader* reader, CentralEntry* e) {
  uint32_t signature = 0, compressed = 0, inflated = 0, offset = 0;
  uint16_t name_size = 0, extra_size = 0, comment_size = 0;
  if (!reader->Read(&signature) || signature != kCentralHeader || !reader->Skip(4) ||
      !reader->Read(&e->flags) || !reader->Read(&e->method) || !reader->Skip(8) ||
      !reader->Read(&compressed) || !reader->Read(&inflated) || !reader->Read(&name_size) ||
      !reader->Read(&extra_size) || !reader->Read(&comment_size) || !reader->Skip(8) ||
      !reader->Read(&offset) || !reader->ReadText(name_size, &e->name) ||
      !reader->ReadText(extra_size, &e->extra) || !reader->Skip(comment_size)) {
    return false;
  }
  e->compressed = compressed;
  e->inflated = inflated;
  e->offset = offset;
  return ApplyZip64(e);
}

/// Nothing is ever unpacked to disk; but an archive with such names is up to no good.
bool IsSafeName(std::string_view name) {
  if (name.empty() || name[0] == '/' || name.find('\\') != name.npos || name.find('\0') != name.npos)
    return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return true;
}

/// Where the entry's bytes begin, after its local header: the central directory does not say. Nothing if
/// damaged.
std::optional<uint64_t> DataOffset(std::span<const uint8_t> bytes, const CentralEntry& e) {
  if (e.offset >= bytes.size()) return std::nullopt;
  ByteReader local(bytes, e.offset);
  uint32_t signature = 0;
  uint16_t name_size = 0, extra_size = 0;
  std::string_view name;
  if (!local.Read(&signature) || signature != kLocalHeader || !local.Skip(22) || !local.Read(&name_size) ||
      !local.Read(&extra_size) || !local.ReadText(name_size, &name) || name != e.name ||
      !local.Skip(extra_size) || local.remaining() < e.compressed) {
    return std::nullopt;
  }
  return local.position();
}

/// Returns zlib's opinion: exactly `out` filled, and the stream ended there.
bool Inflate(std::span<const uint8_t> in, std::span<uint8_t> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  stream.next_in = const_cast<uint8_t*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool complete = status == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return complete;
}

}  // namespace

Result<ZipArchive> ZipArchive::Open(std::span<const uint8_t> bytes, const std::string& file) {
  Directory directory;
  if (std::string problem = ReadDirectory(bytes, &directory); !problem.empty()) {
    return DataError(file + ": the archive " + problem + "; fetch it again");
  }
  ZipArchive archive;
  archive.file_ = file;
  ByteReader reader(bytes.subspan(directory.offset, directory.size));
  std::deque<std::pair<uint64_t, uint64_t>> extents;  // from local header to end of data
  for (uint64_t i = 0; i < directory.entries; i++) {
    CentralEntry e;
    if (!ReadCentralEntry(&reader, &e)) {
      return DataError(file + ": entry " + std::to_string(i) +
                       " of the archive's directory is damaged; fetch it again");
    }
    const std::string who = file + ": the archive's entry '" + Printable(e.name) + "' ";
    if (!IsSafeName(e.name)) return DataError(who + "has a name that leads outside the archive: refused");
    if (e.flags & 1) return DataError(who + "is encrypted: save it without a password");
    if (e.method != 0 && e.method != 8)
      return DataError(who + "is packed by a method other than deflate: save it again");
    if (e.method == 0 && e.compressed != e.inflated) return DataError(who + "has two sizes; fetch it again");
    const std::optional<uint64_t> data = DataOffset(bytes, e);
    if (!data)
      return DataError(who + "does not lie where the directory says: the file is damaged; fetch it again");
    extents.push_back({e.offset, *data + e.compressed});
    const ZipEntry entry{e.method == 8, bytes.subspan(*data, e.compressed), e.inflated};
    if (!archive.entries_.emplace(e.name, entry).second) return DataError(who + "stands twice");
  }
  std::sort(extents.begin(), extents.end());
  uint64_t end = 0;
  for (const auto& [first, last] : extents) {
    if (first < end) return DataError(file + ": entries of the archive overlap: refused");
    end = last;
  }
  if (end > directory.offset)
    return DataError(file + ": the archive's entries overlap its directory: refused");
  return archive;
}

const ZipEntry* ZipArchive::Find(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

Result<std::span<const uint8_t>> ZipArchive::Contents(const std::string& name, uint64_t limit,
                                                      std::vector<uint8_t>* buffer) const {
  const ZipEntry* entry = Find(name);
  if (!entry) return DataError(file_ + ": the archive has no entry '" + Printable(name) + "'");
  const std::string who = file_ + ": the archive's entry '" + Printable(name) + "' ";
  if (entry->inflated_size > limit) {
    return DataError(who + "claims " + std::to_string(entry->inflated_size) + " bytes; at most " +
                     std::to_string(limit) + " make sense: refused");
  }
  if (!entry->deflated) return entry->data;
  if (entry->inflated_size / kMaxDeflateRatio > entry->data.size() || limit > UINT32_MAX ||
      entry->data.size() > UINT32_MAX) {
    return DataError(who + "claims more bytes than its data can unpack to: refused");
  }
  buffer->resize(entry->inflated_size);
  if (!Inflate(entry->data, *buffer))
    return DataError(who + "does not unpack to the size it claims; fetch it again");
  return std::span<const uint8_t>(*buffer);
}

}  // namespace bifrons
