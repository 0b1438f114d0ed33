// The stack machine that a pickle is a program of, without the opcodes that could run anything.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "src/base/result.h"
#include "src/model/checkpoint/pickle_objects.h"

namespace bifrons::pickle {

/// Executes a pickle's opcodes. Errors: more than kMaxPickleBytes or kMaxPickleObjects, an opcode or a global
/// that torch.save does not write, a pickle that is damaged. Messages begin with `file`.
Result<Objects> Unpickle(std::span<const uint8_t> pickle, const std::string& file);

}  // namespace bifrons::pickle
