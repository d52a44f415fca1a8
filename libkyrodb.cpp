// The engine behind kyro/kyro.h, for programs that link with the library.
#ifdef KYRO_HEADER_ONLY
#error "The library has what KYRO_HEADER_ONLY does without."
#endif

#include "kyro/embed/implementation.h"
