#include "src/model/text/pre_tokenizer.h"

#include <algorithm>
#include <array>

#include "src/model/text/utf8.h"

namespace bifrons {
namespace {

constexpr int kByteCharacters = 0x144;

struct ByteAlphabet {
  std::array<char32_t, 256> character;
  std::array<int16_t, kByteCharacters> byte;
};

// openai/gpt-2: bytes_to_unicode. Printable Latin-1 stands for itself, the rest follows from U+0100.
constexpr ByteAlphabet MakeByteAlphabet() {
  ByteAlphabet a{};
  for (auto& b : a.byte) b = -1;
  char32_t next = 0x100;
  for (int b = 0; b < 256; b++) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    a.character[b] = printable ? static_cast<char32_t>(b) : next++;
    a.byte[a.character[b]] = static_cast<int16_t>(b);
  }
  return a;
}

constexpr ByteAlphabet kAlphabet = MakeByteAlphabet();

struct Segment {
  size_t begin, end;
  bool is_match;
};

// tokenizers: Pattern::find_matches. Matches and the gaps between them, in order.
void FindSegments(Regex::Matcher& matcher, std::string_view piece, bool invert,
                  std::vector<Segment>& segments) {
  segments.clear();
  matcher.Reset(piece);
  size_t previous = 0;
  while (const auto match = matcher.Next()) {
    if (previous != match->first) segments.push_back({previous, match->first, invert});
    segments.push_back({match->first, match->second, !invert});
    previous = match->second;
  }
  if (previous != piece.size()) segments.push_back({previous, piece.size(), invert});
}

// tokenizers: NormalizedString::split. Joins segments as the behaviour says; what is to go becomes empty.
void ApplyBehavior(SplitBehavior behavior, std::vector<Segment>& segments) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      for (Segment& s : segments) {
        if (s.is_match) s.end = s.begin;
      }
      return;
    case SplitBehavior::kContiguous:
    case SplitBehavior::kMergedWithPrevious: {
      size_t kept = 0;
      bool previous_match = false;
      for (const Segment s : segments) {
        const bool join = behavior == SplitBehavior::kContiguous ? s.is_match == previous_match
                                                                 : s.is_match && !previous_match;
        if (join && kept > 0) {
          segments[kept - 1].end = s.end;
        } else {
          segments[kept++] = s;
        }
        previous_match = s.is_match;
      }
      segments.resize(kept);
      return;
    }
    case SplitBehavior::kMergedWithNext: {
      std::reverse(segments.begin(), segments.end());
      size_t kept = 0;
      bool previous_match = false;
      for (const Segment s : segments) {
        if (s.is_match && !previous_match && kept > 0) {
          segments[kept - 1].begin = s.begin;
        } else {
          segments[kept++] = s;
        }
        previous_match = s.is_match;
      }
      segments.resize(kept);
      std::reverse(segments.begin(), segments.end());
      return;
    }
  }
}

void Split(const PreTokenizerStep& step, Pieces& pieces) {
  Regex::Matcher matcher(step.regex.front());
  std::vector<ByteRange> ranges;
  ranges.reserve(pieces.ranges.size());
  std::vector<Segment> segments;
  for (const auto& [begin, end] : pieces.ranges) {
    FindSegments(matcher, std::string_view(pieces.text).substr(begin, end - begin), step.invert, segments);
    ApplyBehavior(step.behavior, segments);
    for (const Segment& s : segments) {
      if (s.begin < s.end) ranges.emplace_back(begin + s.begin, begin + s.end);
    }
  }
  pieces.ranges = std::move(ranges);
}

void AddPrefixSpaces(Pieces& pieces) {
  Pieces result;
  for (const auto& [begin, end] : pieces.ranges) {
    const size_t start = result.text.size();
    if (pieces.text[begin] != ' ') result.text += ' ';
    result.text.append(pieces.text, begin, end - begin);
    result.ranges.emplace_back(start, result.text.size());
  }
  pieces = std::move(result);
}

void ByteLevel(const PreTokenizerStep& step, Pieces& pieces) {
  if (step.add_prefix_space) AddPrefixSpaces(pieces);
  if (!step.regex.empty()) Split(step, pieces);
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (auto& [begin, end] : pieces.ranges) {
    const size_t start = text.size();
    for (size_t i = begin; i < end; i++)
      AppendUtf8(CharacterOfByte(static_cast<uint8_t>(pieces.text[i])), text);
    begin = start;
    end = text.size();
  }
  pieces.text = std::move(text);
}

}  // namespace

char32_t CharacterOfByte(uint8_t byte) { return kAlphabet.character[byte]; }

int ByteOfCharacter(char32_t c) { return c < kByteCharacters ? kAlphabet.byte[c] : -1; }

Pieces PreTokenize(const std::vector<PreTokenizerStep>& steps, std::string_view text) {
  Pieces pieces{std::string(text), {}};
  if (!text.empty()) pieces.ranges.emplace_back(0, text.size());
  for (const PreTokenizerStep& step : steps) {
    step.kind == PreTokenizerStep::Kind::kSplit ? Split(step, pieces) : ByteLevel(step, pieces);
  }
  return pieces;
}

}  // namespace bifrons
