#include "src/engine/drawn_codes.h"

#include <algorithm>

#include "src/engine/image_codes.h"

namespace bifrons {

Error NotNumbers(const Janus& janus, const std::string& token) {
  return DataError("the model's logits are not numbers (NaN) at " + token +
                   "; its weights are damaged, or overflow in " + NameOf(janus.compute()) + " arithmetic");
}

Error NotNumbers(const Janus& janus, int64_t image_token) {
  return NotNumbers(janus, "image token " + std::to_string(image_token + 1) + " of " +
                               std::to_string(janus.config().vq.tokens()));
}

Result<DrawnPicture> DecodeDrawn(Janus& janus, const DrawnCodes& drawn) {
  Queue& queue = janus.images();
  DrawnPicture picture;
  picture.codes.resize(static_cast<size_t>(drawn.codes.shape().elements()));
  queue.After(drawn.ready);
  queue.Wait(queue.Download(drawn.codes.view(), picture.codes.data()));
  const auto wrong =
      std::find_if(picture.codes.begin(), picture.codes.end(), [](int32_t c) { return c < 0; });
  if (wrong != picture.codes.end()) return NotNumbers(janus, wrong - picture.codes.begin());
  picture.image = DecodeImage(janus, drawn.codes.view());
  return picture;
}

}  // namespace bifrons
