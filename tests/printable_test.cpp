// What messages show of names out of untrusted files.
#include "src/base/printable.h"

#include <catch2/catch.hpp>

using namespace bifrons;

TEST_CASE("names keep their UTF-8, and nothing that a terminal obeys or cannot show") {
  CHECK(Printable("").empty());
  CHECK(Printable("a é 漢 😀") == "a é 漢 😀");
  CHECK(Printable("a\nb\x1B[0m\x7F") == "a?b?[0m?");
  CHECK(Printable("\xFF\x9B\x80") == "???");
  CHECK(Printable("\xC2\x9B[0m\xC2\x85\xC2\xA0") == "?[0m?\xC2\xA0");  // C1 controls; U+00A0 is none
  CHECK(Printable("\xC0\xAF\xE0\x80\x80\xED\xA0\x80\xF4\x90\x80\x80\xF5") == std::string(13, '?'));
  CHECK(Printable("\xE6\xBC") == "??");
}

TEST_CASE("long names end at a whole character") {
  const std::string fits(120, 'x');
  CHECK(Printable(fits) == fits);
  CHECK(Printable(fits + "y") == fits + "...");
  CHECK(Printable(fits.substr(1) + "é") == fits.substr(1) + "...");
  CHECK(Printable(fits.substr(2) + "é") == fits.substr(2) + "é");
}
