// The ref backend: every op as a plain scalar loop in f32.
#pragma once

#include "kernels/ops.h"

namespace bifrons::ref {

const Ops& RefOps();

}  // namespace bifrons::ref
