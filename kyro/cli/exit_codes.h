// How the programs end: part of the contract with scripts.
#pragma once

namespace kyro {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitPrecondition = 4;
inline constexpr int kExitUnreachable = 5;

}  // namespace kyro
