// KyroDB embedded: one include for programs that use the engine in their own process.
//
//   #include "kyro/kyro.h"
//   kyro::Options options{.data_dir = "data"};
//   auto db = kyro::Engine::open(options);
//
// Build with -std=c++20 -pthread and the directory that holds kyro/ in the include path.
#pragma once

#include "kyro/base/status.h"
#include "kyro/storage/engine.h"
#include "kyro/storage/offline/loader.h"
#include "kyro/storage/options.h"
