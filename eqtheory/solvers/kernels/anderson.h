/* One step of Anderson's iteration, sample by sample: the arithmetic of `_anderson.py` in two passes over the vectors of a sample, as
   `_anderson_native.py` explains. */

#ifndef SOLVE
#define SOLVE
/* Solves (A + ridge) c = b for a symmetric A that is positive semidefinite but for rounding below the ridge, so that every pivot of
   L D L^T is at least the ridge; A is overwritten. */
static void ridge_solve(double *A, double *c, const double *b, long k, double ridge) {
    for (long j = 0; j < k; j++) {
        double pivot = A[j * k + j] + ridge;
        for (long l = 0; l < j; l++) pivot -= A[j * k + l] * A[j * k + l] * A[l * k + l];
        A[j * k + j] = pivot = pivot > ridge ? pivot : ridge;
        for (long i = j + 1; i < k; i++) {
            double entry = A[i * k + j];
            for (long l = 0; l < j; l++) entry -= A[i * k + l] * A[j * k + l] * A[l * k + l];
            A[i * k + j] = entry / pivot;
        }
    }
    for (long j = 0; j < k; j++) {
        c[j] = b[j];
        for (long l = 0; l < j; l++) c[j] -= A[j * k + l] * c[l];
    }
    for (long j = k - 1; j >= 0; j--) {
        c[j] /= A[j * k + j];
        for (long i = j + 1; i < k; i++) c[j] -= A[i * k + j] * c[i];
    }
}
#endif

/* Second pass: the new column to `u`, its move to `p` and the proposal, with coefficient `c` of the move; no column where `u` is NULL.
   The proposal uses the first `kept` of the live ones. Returns whether it is finite. */
static inline __attribute__((always_inline)) int NAME(anderson_move_)(const SAMPLE *x, long n, long live, long kept, REAL *u, REAL *p,
                                                                      REAL length, REAL c, REAL beta, REAL *out) {
    VECTOR bad = {0};
    EACH(n, const VECTOR y = AT(x->y), g = AT(x->g), f = g - y;
         VECTOR bf = f, o = g;
         if (beta != 1) bf = beta * f, o = y + bf;
         VECTOR m = bf;
         for (long q = 0; q < live; q++) {
             const VECTOR w = AT(x->w[q]);
             m -= x->a[q] * w;
             if (q < kept) o -= x->s[q] * w;
         }
         if (u) {
             const VECTOR e = f - AT(x->f);
             m /= length;
             PUT(u, e / length);
             PUT(p, m);
             o -= c * m;
         }
         PUT(x->f, f);
         PUT(out, o);
         bad += o - o; /* zero for numbers, NaN for anything else */);
    return NAME(total)(bad) == 0;
}

static int NAME(anderson_move)(const SAMPLE *x, long n, long kept, REAL *u, REAL *p, REAL length, REAL c, REAL beta, REAL *out) {
#define CASE(m) case m: return NAME(anderson_move_)(x, n, m, (m) - 1, u, p, length, c, 1, out);
    switch (u && beta == 1 && kept == x->live - 1 ? x->live : 0) { /* what occurs most */
        CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)
        default: return NAME(anderson_move_)(x, n, x->live, kept, u, p, length, c, beta, out);
    }
#undef CASE
}

/* The newest column goes to `slot`; y, g: states and their images; out: proposals; samples that are not active stay where they are.
   vectors: (batch, 2 + 2 m, n): residual at the previous step, best image, columns u, moves p;
   numbers: (batch, 5): the guard; small: (batch, m m + 2 m): U^T U with zeros where there is no column, U^T f, last coefficients;
   size, scale: receive the norms of g - y and of g. */
void NAME(anderson)(const plan *p, long slot, const REAL *y, const REAL *g, const byte *active, REAL *out) {
    const long n = p->n, m = p->m;
    const REAL beta = (REAL)p->mixing;
    REAL *size = p->size, *scale = p->scale;
    double A[LONGEST * LONGEST], b[LONGEST], c[LONGEST];
    SAMPLE x;
    PRODUCTS of;
    for (long i = 0; i < p->batch; i++) {
        REAL *oi = out + i * n, *image = (REAL *)p->vectors + (i * (2 + 2 * m) + 1) * n, *U = image + n, *P = U + m * n;
        GUARD *guard = (GUARD *)((REAL *)p->numbers + i * 5);
        double *gram = p->small + i * (m * m + 2 * m), *along = gram + m * m, *last = along + m;
        long kept = 0;
        int improved;
        x.y = y + i * n, x.g = g + i * n, x.f = image - n, x.live = 0;
        if (!active[i]) {
            memcpy(oi, x.y, n * sizeof(REAL));
            continue;
        }
        for (long t = 1; t <= m; t++) { /* the oldest comes last, since it is not kept */
            const long j = (slot + t) % m, q = x.live;
            if (!(gram[j * m + j] > 0)) continue;
            x.place[q] = j, x.v[q] = U + j * n, x.w[q] = P + j * n, x.a[q] = (REAL)last[j];
            x.live++, kept += j != slot;
        }
        if (!(guard->known > 0)) memset(x.f, 0, n * sizeof(REAL));
        NAME(look)(&x, n, kept, &of);
        const REAL residual = size[i] = (REAL)sqrt(of.ff), length = (REAL)sqrt(of.ee);
        scale[i] = (REAL)sqrt(of.gg);
        const int lost = NAME(lost)(guard, residual, p, &improved);
        if (guard->pending && !improved) NAME(image_before)(&x, n, beta, image);
        guard->pending = improved;
        const REAL *best = improved ? x.g : image;
        if (lost) {
            NAME(restart)(guard, best, oi, n);
            memset(gram, 0, m * m * sizeof(double));
            continue;
        }

        const int usable = guard->known > 0 && length > p->tiny && length < (REAL)INFINITY;
        for (long q = 0; q < kept; q++) {
            const long j = x.place[q];
            along[j] += of.ve[q];
            gram[j * m + slot] = gram[slot * m + j] = usable ? of.ve[q] / length : 0;
        }
        gram[slot * m + slot] = usable, along[slot] = usable ? of.fe / length : 0;
        const long columns = kept + usable;
        if (usable) x.place[kept] = slot;
        for (long q = 0; q < columns; q++) {
            b[q] = along[x.place[q]];
            for (long r = 0; r < columns; r++) A[q * columns + r] = gram[x.place[q] * m + x.place[r]];
        }
        ridge_solve(A, c, b, columns, p->ridge);
        for (long q = 0; q < columns; q++) {
            last[x.place[q]] = c[q];
            if (q < kept) x.s[q] = (REAL)c[q];
        }
        const REAL newest = usable ? (REAL)c[kept] : 0;
        REAL *u = usable ? U + slot * n : NULL;
        const int finite = NAME(anderson_move)(&x, n, kept, u, P + slot * n, length, newest, beta, oi);
        guard->known = 1;
        if (!finite) {
            NAME(restart)(guard, best, oi, n);
            memset(gram, 0, m * m * sizeof(double));
        }
    }
}
