// What the kernels of every instruction set include.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "pool.hpp"
