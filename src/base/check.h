// CHECK: our own invariants. Always on; a failure is a bug in bifrons, never a user's mistake.
// Wrong input (files, flags, requests) is reported through Result instead (result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

#define BIFRONS_CHECK(condition, ...)                                                                 \
  do {                                                                                                \
    if (!(condition)) [[unlikely]] {                                                                  \
      std::fprintf(stderr, "bifrons: internal error at %s:%d: %s. ", __FILE__, __LINE__, #condition); \
      __VA_OPT__(std::fprintf(stderr, __VA_ARGS__);)                                                  \
      std::fputc('\n', stderr);                                                                       \
      std::abort();                                                                                   \
    }                                                                                                 \
  } while (0)
