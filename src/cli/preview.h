// Pictures on the terminal.
#pragma once

#include "vision/image.h"

namespace bifrons {

/// Shows pictures on standard error, as the progress bar does, so that nothing is ever mixed into what
/// standard output holds: as pictures where the terminal speaks kitty's, iTerm2's or sixel graphics (by what
/// the environment says of it), else made of coloured characters, or of plain ones (TERM=dumb).
class Preview {
 public:
  /// Where standard error is no terminal nothing is shown; a line says so, unless `quiet`.
  Preview(bool wanted, bool quiet);
  /// As large as fits into the window, and no larger than it is; on lines of its own.
  void Show(const Image& image) const;

 private:
  bool shows_;
};

}  // namespace bifrons
