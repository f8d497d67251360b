/* One step of Anderson's iteration with truncated Gram-Schmidt, sample by sample: the arithmetic of `_anderson_tgs.py` and of
   `_safeguard.py` in three passes over the rows of a sample. Nothing a sample does depends on another one. Sums run in sixteen
   strands, so that they can be vectorised without leave to reorder them.

   The file includes itself once for each precision. */

#ifndef REAL

#include <math.h>
#include <string.h>

#define REAL double
#define STEP tgs_step_double
#include "_anderson_tgs.c"
#undef REAL
#undef STEP

#define REAL float
#define STEP tgs_step_float
#include "_anderson_tgs.c"

#else

#undef STRANDS
#undef GATHER
#define STRANDS 16
/* The sum of the strands in p, left in p[0]. */
#define GATHER(p)                           \
    for (long half = STRANDS / 2; half; half /= 2) \
        for (long c = 0; c < half; c++) p[c] += p[c + half];

/* batch, n; slots, slot: directions lie in `slots` places in turn, one more than are kept, and the newest goes to `slot`;
   y, g: states and their images; out: proposals;
   vectors: (batch, 3 + 2 slots, n): residual and image of the previous step, best image, directions, moves;
   numbers: (batch, 5 + 2 slots): residual, best, mark, steps since the mark, whether the previous step may be differenced with,
   lengths of the directions (zero where there is none), components along them. */
void STEP(long batch, long n, long slots, long slot, const REAL *restrict y, const REAL *restrict g, REAL *restrict vectors,
          REAL *restrict numbers, REAL *restrict out, double mixing, double floor_, double tiny, double progress,
          double growth, long patience) {
    for (long i = 0; i < batch; i++) {
        const REAL *yi = y + i * n, *gi = g + i * n;
        REAL *oi = out + i * n, *fi = vectors + i * (3 + 2 * slots) * n, *hi = fi + n, *image = hi + n;
        REAL *V = image + n, *W = V + slots * n;
        REAL *size = numbers + i * (5 + 2 * slots), *best = size + 1, *mark = size + 2, *stale = size + 3, *known = size + 4;
        REAL *len = size + 5, *a = len + slots;
        REAL *d = V + slot * n, *w = W + slot * n;
        const REAL beta = (REAL)mixing;
        const long whole = n - n % STRANDS;
        REAL s0[STRANDS] = {0}, s1[STRANDS] = {0};

        /* The slot's own direction has not been in use since the last step. */
        for (long k = 0; k < whole; k += STRANDS)
            for (long c = 0; c < STRANDS; c++) {
                const REAL r = gi[k + c] - yi[k + c], e = r - fi[k + c];
                const REAL move = yi[k + c] + beta * r;
                const REAL to = beta == 1 ? gi[k + c] : move;
                d[k + c] = e, w[k + c] = to - hi[k + c], fi[k + c] = r, hi[k + c] = to;
                s0[c] += r * r, s1[c] += e * e;
            }
        for (long k = whole; k < n; k++) {
            const REAL r = gi[k] - yi[k], e = r - fi[k], to = beta == 1 ? gi[k] : yi[k] + beta * r;
            d[k] = e, w[k] = to - hi[k], fi[k] = r, hi[k] = to;
            s0[k - whole] += r * r, s1[k - whole] += e * e;
        }
        GATHER(s0) GATHER(s1)
        const REAL squares = s0[0], difference = s1[0];
        const REAL residual = *size = (REAL)sqrt((double)squares);

        len[slot] = 0;
        if (*known > 0) {
            for (long t = 1; t < slots; t++) {
                const long j = (slot + t) % slots;
                if (!(len[j] > 0)) continue;
                const REAL *v = V + j * n, *m = W + j * n;
                REAL p[STRANDS] = {0};
                for (long k = 0; k < whole; k += STRANDS)
                    for (long c = 0; c < STRANDS; c++) p[c] += v[k + c] * d[k + c];
                for (long k = whole; k < n; k++) p[k - whole] += v[k] * d[k];
                GATHER(p)
                const REAL s = p[0] / len[j] / len[j];
                a[j] += s;
                for (long k = 0; k < n; k++) d[k] -= s * v[k], w[k] -= s * m[k];
            }
            REAL p[STRANDS] = {0}, q[STRANDS] = {0};
            for (long k = 0; k < whole; k += STRANDS)
                for (long c = 0; c < STRANDS; c++) p[c] += d[k + c] * d[k + c], q[c] += d[k + c] * fi[k + c];
            for (long k = whole; k < n; k++) p[k - whole] += d[k] * d[k], q[k - whole] += d[k] * fi[k];
            GATHER(p) GATHER(q)
            const REAL rest = (REAL)sqrt((double)p[0]), product = q[0];
            /* A NaN or an infinity fails both, and nothing new in the difference fails the first. */
            if (rest > (REAL)floor_ * (REAL)sqrt((double)difference) && rest > (REAL)tiny && rest < (REAL)INFINITY) {
                len[slot] = rest;
                a[slot] = product / rest / rest;
            }
        }

        /* The oldest of those the newest was reduced against is not kept. */
        memcpy(oi, hi, n * sizeof(REAL));
        for (long t = 2; t <= slots; t++) {
            const long j = (slot + t) % slots;
            if (!(len[j] > 0)) continue;
            const REAL c = a[j], *m = W + j * n;
            for (long k = 0; k < n; k++) oi[k] -= c * m[k];
        }
        REAL bad[STRANDS] = {0};
        for (long k = 0; k < whole; k += STRANDS)
            for (long c = 0; c < STRANDS; c++) bad[c] += oi[k + c] - oi[k + c]; /* zero for numbers, NaN for anything else */
        for (long k = whole; k < n; k++) bad[k - whole] += oi[k] - oi[k];
        GATHER(bad)
        const REAL sum = bad[0];

        if (residual <= *best) { /* also where both overflow: the image of the start must not outlive its residual */
            *best = residual;
            memcpy(image, gi, n * sizeof(REAL));
        }
        *stale += 1;
        if (residual < (REAL)progress * *mark) *mark = residual, *stale = 0;
        *known = 1;
        if (residual > (REAL)growth * *best || *stale > patience || sum != 0) {
            memcpy(oi, image, n * sizeof(REAL));
            for (long t = 0; t < slots; t++) len[t] = 0;
            *best = *mark = (REAL)INFINITY;
            *stale = 0, *known = 0;
        }
    }
}

#endif
