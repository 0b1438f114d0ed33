// Text in any script as pixels, through Pango: shaped, in both directions, with fallback fonts and colour
// emoji.
#pragma once

#include <memory>
#include <string>

#include "src/base/result.h"
#include "vision/image.h"

namespace bifrons {

/// How a text is set.
struct TextBox {
  enum class Align { kStart, kCentre, kEnd };

  int64_t width = 0;            // pixels; lines wrap there, within words where it has to be
  int64_t font_size = 0;        // pixels
  int lines = 4;                // of a paragraph, and paragraphs; an ellipsis stands for the rest
  Align align = Align::kStart;  // kStart: where the paragraph's script begins
  bool bold = false;
  bool shrink = false;       // the picture is only as wide as the longest line
  bool whole_words = false;  // a smaller font, half as large at least, where a word is wider than a line
};

/// One, for all the texts of a sheet: finding the fonts takes longer than setting a text.
class Typesetter {
 public:
  /// Errors (kFailure): no font is installed.
  static Result<Typesetter> Create();
  Typesetter(Typesetter&&) noexcept;
  ~Typesetter();

  /// Dark on white; as wide as the box and as high as the text. `text` is UTF-8, '\n' ends a paragraph; a
  /// character that no font has shows as a box. An empty text gives an empty picture. Errors (kFailure): no
  /// memory, or a box beyond Cairo's 32 767 pixels.
  Result<Image> Set(const std::string& text, const TextBox& box) const;

 private:
  struct Context;
  explicit Typesetter(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace bifrons
