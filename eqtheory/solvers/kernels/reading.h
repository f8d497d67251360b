/* Who leaves at this step? See `_watch.py` for what is asked and why the answer is safe. */

#ifndef ACCOUNT
#define ACCOUNT
typedef struct {
    int64_t batch, n;
    double rtol, atol; /* of the stop test */
    double growth;     /* residuals beyond this multiple of the start's size diverge */
    double floor;      /* norms below it are not to be trusted */
    double most;       /* the largest number */
    double rounding;   /* by which factor two computed norms of one vector can differ */
    double *limit, *near;
    byte *active;
    int8_t *status;
    int64_t *steps;
    int64_t *doubtful, *gone; /* receive samples: those that have to be looked at, and those that have left so far */
    void *image;              /* receives G at the states of those that leave */
    int64_t doubts, left;     /* how many they are */
    int64_t converged;        /* the status of those that leave */
} account;
#endif

/* Squares of the norms of g - y and of g. */
static inline void NAME(squares)(const REAL *y, const REAL *g, long n, double *residual, double *image) {
    VECTOR r[4] = {{0}, {0}, {0}, {0}}, s[4] = {{0}, {0}, {0}, {0}};
    long from = 0;
    for (; from + 4 * LANES <= n; from += 4 * LANES)
        for (long c = 0; c < 4; c++) {
            const VECTOR a = NAME(load)(g + from + c * LANES), p = a - NAME(load)(y + from + c * LANES);
            r[c] += p * p, s[c] += a * a;
        }
    y += from, g += from;
    EACH(n - from, const VECTOR a = AT(g), p = a - AT(y); r[0] += p * p; s[0] += a * a;);
    *residual = NAME(total)((r[0] + r[1]) + (r[2] + r[3])), *image = NAME(total)((s[0] + s[1]) + (s[2] + s[3]));
}

/* Whether the first eight numbers are what they were, but for two units in the last place. */
static inline int NAME(back)(const REAL *y, const REAL *then, long n) {
    const REAL ulps = sizeof(REAL) == 8 ? (REAL)0x1p-51 : (REAL)0x1p-22;
    for (long k = 0; k < n && k < 8; k++)
        if (!((REAL)fabs((double)(y[k] - then[k])) <= ulps * (REAL)fabs((double)then[k]))) return 0;
    return 1;
}

/* Lets those go that have surely converged at step t, and lists those that may leave otherwise. Returns how many have been listed, or
   -1 where a sample may be back at `anchor`. `size` and `scale`, norms of g - y and of g, `anchor` and `out` may be NULL; those who leave
   stay where they are in `out`. `eighth`: whether nearness to the tolerance is reckoned from here; `last`: whether that does not matter. */
long NAME(read)(account *a, long t, long eighth, long last, const REAL *y, const REAL *g, const REAL *size, const REAL *scale, const REAL *anchor,
                REAL *out) {
    const double rho = a->rounding, twice = rho * rho;
    const long n = a->n;
    a->doubts = 0;
    for (long i = 0; i < a->batch; i++) {
        double residual, image;
        if (!a->active[i]) continue;
        if (size) {
            residual = size[i], image = scale[i];
        } else {
            NAME(squares)(y + i * n, g + i * n, n, &residual, &image);
            residual = sqrt(residual), image = sqrt(image);
        }
        const double both = image + residual < a->most ? image + residual : a->most;
        if (t == 0) a->limit[i] = a->growth * both < a->most ? a->growth * both : a->most;
        if (eighth) {
            a->near[i] = 1000 * (a->rtol * both + a->atol);
            if (a->near[i] < a->floor) a->near[i] = a->floor;
        }
        /* Comparisons with NaN are false, and an infinite image makes the tolerance infinite. */
        const int trusted = residual > rho * a->floor && residual * twice <= a->limit[i];
        if (trusted && residual > twice * (a->rtol * (image > a->floor ? image : a->floor) + a->atol)) continue;
        const int clear = image > rho * a->floor && image * twice <= a->most;
        if (trusted && clear && residual * twice <= a->rtol * image + a->atol && (last || residual * twice <= a->near[i])) {
            a->active[i] = 0, a->status[i] = (int8_t)a->converged, a->steps[i] = t, a->gone[a->left++] = i;
            memcpy((REAL *)a->image + i * n, g + i * n, n * sizeof(REAL));
            if (out) memcpy(out + i * n, y + i * n, n * sizeof(REAL));
        } else {
            a->doubtful[a->doubts++] = i;
        }
    }
    if (anchor)
        for (long i = 0; i < a->batch; i++)
            if (a->active[i] && NAME(back)(y + i * n, anchor + i * n, n)) return -1;
    return a->doubts;
}
