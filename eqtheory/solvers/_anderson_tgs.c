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
   y, g: states and their images; f, h: residuals and images of the previous step; directions, moves: (batch, slots, n);
   lengths (zero where there is no direction) and along: (batch, slots); image, best, mark, stale: the safeguard;
   known: whether f and h may be differenced with; size, out: residuals and proposals. */
void STEP(long batch, long n, long slots, long slot, const REAL *restrict y, const REAL *restrict g, REAL *restrict f,
          REAL *restrict h, REAL *restrict directions, REAL *restrict moves, REAL *restrict lengths, REAL *restrict along,
          REAL *restrict image, REAL *restrict best, REAL *restrict mark, long *restrict stale,
          unsigned char *restrict known, REAL *restrict size, REAL *restrict out, double mixing, double floor_,
          double tiny, double progress, double growth, long patience) {
    for (long i = 0; i < batch; i++) {
        const REAL *yi = y + i * n, *gi = g + i * n;
        REAL *fi = f + i * n, *hi = h + i * n, *oi = out + i * n;
        REAL *V = directions + i * slots * n, *W = moves + i * slots * n;
        REAL *len = lengths + i * slots, *a = along + i * slots;
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
        const REAL residual = size[i] = (REAL)sqrt((double)squares);

        len[slot] = 0;
        if (known[i]) {
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

        if (residual < best[i]) {
            best[i] = residual;
            memcpy(image + i * n, gi, n * sizeof(REAL));
        }
        stale[i]++;
        if (residual < (REAL)progress * mark[i]) mark[i] = residual, stale[i] = 0;
        known[i] = 1;
        if (residual > (REAL)growth * best[i] || stale[i] > patience || sum != 0) {
            memcpy(oi, image + i * n, n * sizeof(REAL));
            for (long t = 0; t < slots; t++) len[t] = 0;
            best[i] = mark[i] = (REAL)INFINITY;
            stale[i] = 0, known[i] = 0;
        }
    }
}

#endif
