#include "src/model/checkpoint/gguf_header.h"

#include "src/base/check.h"
#include "src/model/checkpoint/byte_reader.h"

namespace bifrons {
namespace {

template <class T>
void Put(T number, std::string* to) {
  to->append(reinterpret_cast<const char*>(&number), sizeof number);
}

void PutText(std::string_view text, std::string* to) {
  Put<uint64_t>(text.size(), to);
  to->append(text);
}

}  // namespace

void GgufHeader::BeginValue(std::string_view key, GgufValue type) {
  PutText(key, &values_);
  Put(static_cast<uint32_t>(type), &values_);
  value_count_++;
}

void GgufHeader::BeginList(std::string_view key, GgufValue type, uint64_t count) {
  BeginValue(key, GgufValue::kArray);
  Put(static_cast<uint32_t>(type), &values_);
  Put(count, &values_);
}

void GgufHeader::Add(std::string_view key, std::string_view text) {
  BeginValue(key, GgufValue::kString);
  PutText(text, &values_);
}

void GgufHeader::Add(std::string_view key, uint32_t number) {
  BeginValue(key, GgufValue::kU32);
  Put(number, &values_);
}

void GgufHeader::Add(std::string_view key, std::span<const std::string> texts) {
  BeginList(key, GgufValue::kString, texts.size());
  for (const std::string& text : texts) PutText(text, &values_);
}

void GgufHeader::Add(std::string_view key, std::span<const int32_t> numbers) {
  BeginList(key, GgufValue::kI32, numbers.size());
  for (const int32_t number : numbers) Put(number, &values_);
}

void GgufHeader::AddTensor(std::string_view name, DType type, const Shape& shape) {
  const GgufType* const stored = FindGgufType(type);
  BIFRONS_CHECK(stored && name.size() <= kMaxGgufName && shape.rank() > 0);
  PutText(name, &tensors_);
  Put(static_cast<uint32_t>(shape.rank()), &tensors_);
  for (int i = shape.rank() - 1; i >= 0; i--) Put(static_cast<uint64_t>(shape[i]), &tensors_);
  Put(stored->id, &tensors_);
  Put(data_bytes_, &tensors_);
  tensor_count_++;
  const uint64_t bytes = BytesOf(type, shape);
  data_bytes_ += bytes + PaddingOf(bytes);
}

std::string GgufHeader::Text() const {
  std::string text;
  Put(kGgufMagic, &text);
  Put(kGgufVersion, &text);
  Put(tensor_count_, &text);
  Put(value_count_, &text);
  text += values_;
  text += tensors_;
  text.append(PaddingOf(text.size()), '\0');
  return text;
}

}  // namespace bifrons
