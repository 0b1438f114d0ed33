// Beside metadata.cpp, whose text can be read without a model.
#include "src/engine/metadata.h"

namespace bifrons {

PictureSettings DescribeModel(Janus& janus) {
  PictureSettings s;
  s.model = janus.name();
  s.width = s.height = janus.config().vq.image_size();
  s.steps = janus.config().vq.tokens();
  if (const auto type = janus.source().made_type()) s.weights = *type;
  s.compute = NameOf(janus.compute());
  s.kv_type = NameOf(janus.kv_type());
  s.backend = janus.device().backend();
  s.isa = janus.device().isa();
  s.convolutions = janus.device().convolution_library();
  s.chat_template = NameOf(janus.chat_template());
  s.version = std::string("bifrons ") + BIFRONS_VERSION;
  return s;
}

}  // namespace bifrons
