// How much memory there is for this process, and how much it has held.
#pragma once

#include <cstdint>
#include <string>

namespace bifrons {

/// Bytes that this process may still take: the least of
/// - what the system has available without swapping (MemAvailable),
/// - what is left in each control group around the process, versions 1 and 2: its limit less what the group
///   uses, of which file pages do not count, as the system gives them up before it refuses memory,
/// - its address-space limit less what it has mapped.
/// What cannot be read limits nothing; the largest number when nothing does. Files are read as of now, below
/// `root`: another folder than "" is for tests.
uint64_t AvailableMemory(const std::string& root = "");

/// Bytes of memory that this process has held at most so far, pages of mapped files included.
uint64_t MostResidentMemory();

}  // namespace bifrons
