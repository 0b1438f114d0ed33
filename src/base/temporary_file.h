// Files under a temporary name: whose they are, and the removal of those whose process is dead.
#pragma once

#include <string>
#include <string_view>

namespace bifrons {

/// A name that no other file of this process has, and that tells the host and the start of its system:
/// ".bifrons-HOST-BOOT-PID-NUMBER.tmp". Its length does not depend on what the file is for.
std::string TemporaryName();

/// Locks a file that has such a name, or is about to get one: the lock tells RemoveAbandoned that the file's
/// process lives, and ends with it. Does nothing where the file system has no locks.
void MarkAsAlive(int file);

/// Removes files with such names from the folder that `folder` is open on, unless their process may live: it
/// runs on another host, or holds the file's lock, or locks cannot be had. Of a system that was started anew
/// since, files of the last day stay too: another host may have this one's name.
void RemoveAbandoned(int folder);

}  // namespace bifrons
