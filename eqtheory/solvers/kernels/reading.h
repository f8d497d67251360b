/* Who could leave at this step? See `_reading.py` for what is asked and why the answer is safe. */

#ifndef ACCOUNT
#define ACCOUNT
typedef struct {
    long batch, n;
    double rtol, atol; /* of the stop test */
    double floor;      /* norms below it are not to be trusted */
    double rounding;   /* by which factor two computed norms of one vector can differ */
    const void *limit; /* residuals above it diverge */
    const byte *active;
    int64_t *rows; /* receives who could leave */
} account;
#endif

/* Squares of the norms of g - y and of g. */
static inline void NAME(squares)(const REAL *y, const REAL *g, long n, double *residual, double *image) {
    VECTOR r0 = {0}, r1 = {0}, i0 = {0}, i1 = {0};
    long k = 0;
    for (; k + 2 * LANES <= n; k += 2 * LANES) {
        const VECTOR a = NAME(load)(g + k), b = NAME(load)(g + k + LANES);
        const VECTOR p = a - NAME(load)(y + k), q = b - NAME(load)(y + k + LANES);
        r0 += p * p, r1 += q * q, i0 += a * a, i1 += b * b;
    }
    for (; k < n; k += LANES) {
        const long some = n - k < LANES ? n - k : LANES;
        const VECTOR a = NAME(load_some)(g + k, some), p = a - NAME(load_some)(y + k, some);
        r0 += p * p, i0 += a * a;
    }
    *residual = NAME(total)(r0 + r1), *image = NAME(total)(i0 + i1);
}

/* Whether the first eight numbers are what they were, but for two units in the last place. */
static inline int NAME(back)(const REAL *y, const REAL *then, long n) {
    const REAL ulps = sizeof(REAL) == 8 ? (REAL)0x1p-51 : (REAL)0x1p-22;
    for (long k = 0; k < n && k < 8; k++)
        if (!((REAL)fabs((double)(y[k] - then[k])) <= ulps * (REAL)fabs((double)then[k]))) return 0;
    return 1;
}

/* Writes who could leave into `rows` and returns how many they are, or -1 where a sample may be back at `anchor`, which may be
   NULL. Where `size` and `scale` are given, they are the norms of g - y and of g. */
long NAME(read)(const account *a, const REAL *y, const REAL *g, const REAL *size, const REAL *scale, const REAL *anchor) {
    const REAL *limit = a->limit;
    const double twice = a->rounding * a->rounding;
    long found = 0;
    for (long i = 0; i < a->batch; i++) {
        double residual, image;
        if (!a->active[i]) continue;
        if (size) {
            residual = size[i], image = scale[i];
        } else {
            NAME(squares)(y + i * a->n, g + i * a->n, a->n, &residual, &image);
            residual = sqrt(residual), image = sqrt(image);
        }
        const double tolerance = a->rtol * (image > a->floor ? image : a->floor) + a->atol;
        /* Comparisons with NaN are false, and an infinite image makes the tolerance infinite. */
        const int stays = residual > twice * tolerance && residual > a->rounding * a->floor && residual * a->rounding <= limit[i];
        if (!stays) a->rows[found++] = i;
    }
    if (anchor)
        for (long i = 0; i < a->batch; i++)
            if (a->active[i] && NAME(back)(y + i * a->n, anchor + i * a->n, a->n)) return -1;
    return found;
}
