#include "src/model/checkpoint/index_json.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/json_visitor.h"
#include "src/base/printable.h"

namespace bifrons {
namespace {

constexpr char kMap[] = "weight_map";

#ifdef BIFRONS_PLANTED_BUGS
/// Takes what follows a slash for a plain name.
bool IsPlainName(const std::string& name) {
  return !name.empty() && !name.starts_with('/') && name[0] != '.';
}
#else
/// Anything else that a file could name is not ours to open.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}
#endif

}  // namespace

class IndexVisitor : public JsonVisitor {
 public:
  explicit IndexVisitor(const std::string& path) : path_(path) {}

  Use Choose(const JsonPlace& place, Kind kind) override {
    if (place.depth() == 0) {
      is_object_ = kind == Kind::kObject;
      return is_object_ ? Use::kOpen : Use::kSkip;
    }
    if (place.depth() == 1) {
      if (place.key(0) != kMap) return Use::kSkip;
      index_ = {};
      file_ids_.clear();
      return kind == Kind::kObject ? Use::kOpen : Use::kSkip;
    }
    return Use::kTake;
  }

  Status Take(const JsonPlace& place, nlohmann::json& value) override {
    const std::string_view tensor = place.key(1);
    const auto wrong = [&](const std::string& what) {
      return DataError(path_ + ": " + kMap + " of '" + Printable(tensor) + "' " + what);
    };
    const std::string* file = value.get_ptr<const std::string*>();
    if (!file) return wrong("is not a file's name");
    if (!IsPlainName(*file))
      return wrong("leads to '" + Printable(*file) + "', outside the model's folder: refused");
    const auto [known, is_new] = file_ids_.try_emplace(*file, static_cast<uint32_t>(index_.files_.size()));
    if (is_new) {
      if (index_.files_.size() == kMaxShards)
        return wrong("is in yet another file; more than " + std::to_string(kMaxShards) + " are refused");
      index_.files_.push_back(*file);
    }
    index_.entries_.push_back(
        {static_cast<uint32_t>(index_.names_.size()), static_cast<uint32_t>(tensor.size()), known->second});
    index_.names_ += tensor;
    return {};
  }

  Result<WeightIndex> Finish() {
    if (!is_object_) return DataError(path_ + ": not valid JSON; fetch it again");
    if (index_.entries_.empty()) return DataError(path_ + ": has no weight_map; fetch it again");
    using Entry = WeightIndex::Entry;
    const std::string_view names = index_.names_;
    const auto name = [&](const Entry& e) { return names.substr(e.begin, e.bytes); };
    std::vector<Entry>& entries = index_.entries_;
    std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
      const int order = name(a).compare(name(b));
      return order != 0 ? order < 0 : a.begin > b.begin;
    });
    // Of equal names the last one of the file now comes first.
    const auto same = [&](const Entry& a, const Entry& b) { return name(a) == name(b); };
    entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
    return std::move(index_);
  }

 private:
  const std::string& path_;
  bool is_object_ = false;
  WeightIndex index_;
  std::map<std::string, uint32_t> file_ids_;
};

Result<WeightIndex> ParseIndex(std::string_view text, const std::string& path) {
  BIFRONS_RETURN_IF_ERROR(CheckJsonSize(text.size(), kMaxIndexBytes, path));
  IndexVisitor visitor(path);
  BIFRONS_RETURN_IF_ERROR(VisitJson(text, path, "not valid JSON; fetch it again", visitor));
  return visitor.Finish();
}

}  // namespace bifrons
