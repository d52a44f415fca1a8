// KyroDB embedded: one include for programs that have a store of their own.
//
//   #include "kyro/kyro.h"
//   auto db = kyro::Store::open({.data_dir = "data"});
//
// Build with what `pkg-config --cflags --libs kyrodb` says: -std=c++20, and the library, in which
// the engine is compiled already. Or define KYRO_HEADER_ONLY everywhere in the program: then
// nothing is linked but -pthread, everything may be inlined, and kyro::Engine, which the server
// uses (kyro/storage/engine.h), is there too.
#pragma once

#if __cplusplus < 202002L
#error "KyroDB needs C++20: compile with -std=c++20 or later."
#else

#include "kyro/base/result.h"
#include "kyro/embed/batch.h"
#include "kyro/embed/bulk_loader.h"
#include "kyro/embed/reader.h"
#include "kyro/embed/store.h"
#include "kyro/storage/options.h"

#ifdef KYRO_HEADER_ONLY
#include "kyro/embed/implementation.h"
#endif

#endif
