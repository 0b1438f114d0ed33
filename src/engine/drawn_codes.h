// Pictures whose tokens are all there, from the batch to pixels.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"
#include "src/engine/draw.h"
#include "src/model/janus.h"

namespace bifrons {

/// The tokens of the request `id`, still on the device.
struct DrawnCodes {
  int64_t id = 0;
  DeviceTensor codes;  // i32 [grid²], row by row; −1 where the logits were not numbers
  Ticket ready;        // of steps(): what others wait for before they read them
};

/// Their picture, through images(), and waits for it. Errors: NotNumbers.
Result<DrawnPicture> DecodeDrawn(Janus& janus, const DrawnCodes& drawn);

/// The error (kBadData) of a request whose logits are NaN at `token`, such as "image token 3 of 576".
Error NotNumbers(const Janus& janus, const std::string& token);
/// The same of a picture's token, counted from 0.
Error NotNumbers(const Janus& janus, int64_t image_token);

}  // namespace bifrons
