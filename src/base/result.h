// Errors at the borders are values: what is wrong, where (file, tensor, field), what to do.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "src/base/check.h"

namespace bifrons {

/// The value is the process's exit code; README.md documents them.
enum class ErrorKind { kFailure = 1, kUsage = 2, kBadData = 3 };

struct Error {
  ErrorKind kind = ErrorKind::kFailure;
  std::string message;     // one line, no trailing period or newline
  std::string field = {};  // of a request: the one at fault, where there is one ("prompt", "size")
};

inline Error UsageError(std::string message, std::string field = {}) {
  return {ErrorKind::kUsage, std::move(message), std::move(field)};
}
inline Error DataError(std::string message, std::string field = {}) {
  return {ErrorKind::kBadData, std::move(message), std::move(field)};
}
inline Error Failure(std::string message) { return {ErrorKind::kFailure, std::move(message)}; }

/// A value or the Error that stands in its place.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    BIFRONS_CHECK(ok(), "%s", std::get<1>(state_).message.c_str());
    return std::get<0>(state_);
  }
  const T& value() const& { return const_cast<Result*>(this)->value(); }
  T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    BIFRONS_CHECK(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && { return std::move(const_cast<Error&>(std::as_const(*this).error())); }

 private:
  std::variant<T, Error> state_;
};

/// Success, or an Error: a Result without a value.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)), ok_(false) {}
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const& {
    BIFRONS_CHECK(!ok_);
    return error_;
  }
  Error&& error() && { return std::move(const_cast<Error&>(std::as_const(*this).error())); }

 private:
  Error error_;
  bool ok_ = true;
};

#define BIFRONS_CONCAT_INNER(a, b) a##b
#define BIFRONS_CONCAT(a, b) BIFRONS_CONCAT_INNER(a, b)

/// BIFRONS_TRY(auto x, F()): x = value of F(), or return F()'s error from the enclosing function.
#define BIFRONS_TRY(declaration, expression)             \
  auto BIFRONS_CONCAT(result_, __LINE__) = (expression); \
  if (!BIFRONS_CONCAT(result_, __LINE__).ok()) {         \
    return BIFRONS_CONCAT(result_, __LINE__).error();    \
  }                                                      \
  declaration = std::move(BIFRONS_CONCAT(result_, __LINE__)).value()

#define BIFRONS_RETURN_IF_ERROR(expression)                              \
  do {                                                                   \
    if (auto status = (expression); !status.ok()) return status.error(); \
  } while (0)

}  // namespace bifrons
