// PEFT adapters: what fine-tuning puts on top of a model, in files of its own.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"

namespace bifrons {

/// Larger adapter_config.json are not looked into; published ones have about a thousand bytes.
constexpr size_t kMaxAdapterConfigBytes = size_t{1} << 20;

/// Whether a file of that name holds an adapter's weights; a model's never do.
bool IsAdapterWeights(std::string_view name);

/// The name of the adapter's weights in `folder`; empty when there are none.
std::string FindAdapterWeights(const std::string& folder);

/// Whether `folder` has an adapter's weights or its configuration.
bool HasAdapter(const std::string& folder);

/// For a folder with an adapter and no model: what to do, with the base model that adapter_config.json tells.
Error AdapterAlone(const std::string& folder);

}  // namespace bifrons
