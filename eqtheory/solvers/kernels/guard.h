/* The safeguard of `_safeguard.py` for one sample, and what the kernels of Anderson's iteration are handed. */

#ifndef PLAN
#define PLAN
typedef struct {
    double mixing;
    double floor, tiny; /* share of a difference that has to be new, and the smallest length of a column */
    double progress;    /* a residual below this multiple of the mark sets a new one */
    double growth;      /* a residual above this multiple of the best one starts again */
    double ridge;       /* added to the diagonal of products of unit columns */
    long patience;      /* so many steps without a new mark start again too */
    long batch, n;
    long m; /* how many columns are kept */
    void *vectors, *numbers, *size, *scale;
    double *small;
} plan;
#endif

#undef GUARD
#define GUARD NAME(guard)

/* `pending`: the best residual is that of the previous step, and its image is not kept yet. Most residuals are followed by a
   better one, so that most images need never be copied. */
typedef struct {
    REAL best, mark, stale, known, pending;
} GUARD;

/* Take notice of a residual; whether the memory has to be dropped. */
static inline int NAME(lost)(GUARD *guard, REAL residual, const plan *p, int *improved) {
    *improved = residual <= guard->best; /* also where both overflow: the image of the start must not outlive its residual */
    if (*improved) guard->best = residual;
    guard->stale += 1;
    if (residual < (REAL)p->progress * guard->mark) guard->mark = residual, guard->stale = 0;
    return residual > (REAL)p->growth * guard->best || guard->stale > p->patience;
}

/* Go on from the image at the best state. */
static inline void NAME(restart)(GUARD *guard, const REAL *image, REAL *out, long n) {
    memcpy(out, image, n * sizeof(REAL));
    guard->best = guard->mark = (REAL)INFINITY;
    guard->stale = guard->known = guard->pending = 0;
}
