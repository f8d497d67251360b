/* Every kernel of this folder, in double and in single precision, as one library.

   Nothing a sample does depends on another one, and no sum is reordered by the compiler: vectors of 32 bytes are added lane by lane and
   the lanes in pairs, so that the arithmetic is fixed by this text, whatever compiles it and whatever it runs on. */

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

/* The longest memory there is storage for. */
#define LONGEST 64

#define PASTE_(name, real) name##_##real
#define PASTE(name, real) PASTE_(name, real)
#define NAME(name) PASTE(name, REAL)

#define REAL double
#include "vectors.h"
#include "reading.h"
#include "guard.h"
#include "difference.h"
#include "anderson_tgs.h"
#include "anderson.h"
#undef REAL

#define REAL float
#include "vectors.h"
#include "reading.h"
#include "guard.h"
#include "difference.h"
#include "anderson_tgs.h"
#include "anderson.h"
#undef REAL
