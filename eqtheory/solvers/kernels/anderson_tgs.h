/* One step of Anderson's iteration with truncated Gram-Schmidt, sample by sample: the arithmetic that `_anderson_tgs_native.py`
   derives, in two passes over the vectors of a sample. */

/* Products of d = e - sum s v: where most of the difference is removed, what is left has to be seen. */
static void NAME(look_at_rest)(const SAMPLE *x, long n, double *dd, double *fd, double *vd) {
    VECTOR add = {0}, afd = {0}, avd[LONGEST];
    for (long q = 0; q < x->live; q++) avd[q] = NAME(all)(0);
    EACH(n, const VECTOR f = AT(x->g) - AT(x->y); VECTOR d = f - AT(x->f);
         for (long q = 0; q < x->live; q++) d -= x->s[q] * AT(x->v[q]);
         add += d * d; afd += f * d;
         for (long q = 0; q < x->live; q++) avd[q] += AT(x->v[q]) * d;);
    *dd = NAME(total)(add), *fd = NAME(total)(afd);
    for (long q = 0; q < x->live; q++) vd[q] = NAME(total)(avd[q]);
}

/* Second pass: the new direction to `v`, its move to `w` and the proposal, with coefficient `c` of the move; no direction where `v` is
   NULL. The proposal uses the first `kept` of the live ones. Returns whether it is finite. */
static inline __attribute__((always_inline)) int NAME(tgs_move_)(const SAMPLE *x, long n, long live, long kept, REAL *v, REAL *w, REAL c,
                                                                 REAL beta, REAL *out) {
    VECTOR bad = {0};
    EACH(n, const VECTOR y = AT(x->y), g = AT(x->g), f = g - y;
         VECTOR bf = f, o = g;
         if (beta != 1) bf = beta * f, o = y + bf;
         if (v) {
             VECTOR d = f - AT(x->f), m = bf;
             for (long q = 0; q < live; q++) {
                 const VECTOR step = x->a[q] * AT(x->w[q]);
                 d -= x->s[q] * AT(x->v[q]);
                 m -= step;
                 if (q < kept) o -= step;
             }
             PUT(v, d);
             PUT(w, m);
             o -= c * m;
         } else {
             for (long q = 0; q < kept; q++) o -= x->a[q] * AT(x->w[q]);
         }
         PUT(x->f, f);
         PUT(out, o);
         bad += o - o; /* zero for numbers, NaN for anything else */);
    return NAME(total)(bad) == 0;
}

static int NAME(tgs_move)(const SAMPLE *x, long n, long kept, REAL *v, REAL *w, REAL c, REAL beta, REAL *out) {
    switch (v && beta == 1 ? 10 * x->live + kept : -1) { /* what occurs most */
        case 10: return NAME(tgs_move_)(x, n, 1, 0, v, w, c, 1, out);
        case 21: return NAME(tgs_move_)(x, n, 2, 1, v, w, c, 1, out);
        case 32: return NAME(tgs_move_)(x, n, 3, 2, v, w, c, 1, out);
        default: return NAME(tgs_move_)(x, n, x->live, kept, v, w, c, beta, out);
    }
}

/* The newest direction goes to `slot`; y, g: states and their images; out: proposals; samples that are not active stay where they are.
   vectors: (batch, 2 + 2 m, n): residual at the previous step, best image, directions, moves;
   numbers: (batch, 5 + 2 m): the guard, lengths of the directions (zero where there is none), components of the residual along them;
   size, scale: receive the norms of g - y and of g. */
void NAME(anderson_tgs)(const plan *p, long slot, const REAL *y, const REAL *g, const byte *active, REAL *out) {
    const long n = p->n, m = p->m;
    const REAL beta = (REAL)p->mixing;
    REAL *size = p->size, *scale = p->scale;
    SAMPLE x;
    PRODUCTS of;
    double vd[LONGEST];
    for (long i = 0; i < p->batch; i++) {
        REAL *oi = out + i * n, *image = (REAL *)p->vectors + (i * (2 + 2 * m) + 1) * n, *V = image + n, *W = V + m * n;
        GUARD *guard = (GUARD *)((REAL *)p->numbers + i * (5 + 2 * m));
        REAL *len = (REAL *)(guard + 1), *along = len + m;
        long kept = 0;
        int improved;
        x.y = y + i * n, x.g = g + i * n, x.f = image - n, x.live = 0;
        if (!active[i]) {
            memcpy(oi, x.y, n * sizeof(REAL));
            continue;
        }
        for (long t = 1; t <= m; t++) { /* the oldest comes last, since it is not kept */
            const long j = (slot + t) % m, q = x.live;
            if (!(len[j] > 0)) continue;
            x.place[q] = j, x.v[q] = V + j * n, x.w[q] = W + j * n, x.a[q] = along[j];
            x.live++, kept += j != slot;
        }
        if (!(guard->known > 0)) memset(x.f, 0, n * sizeof(REAL));
        NAME(look)(&x, n, x.live, &of);
        const REAL residual = size[i] = (REAL)sqrt(of.ff);
        scale[i] = (REAL)sqrt(of.gg);
        const int lost = NAME(lost)(guard, residual, p, &improved);
        if (guard->pending && !improved) NAME(image_before)(&x, n, beta, image);
        guard->pending = improved;
        const REAL *best = improved ? x.g : image;
        if (lost) {
            NAME(restart)(guard, best, oi, n);
            for (long j = 0; j < m; j++) len[j] = 0;
            continue;
        }

        double dd = of.ee, fd = of.fe;
        for (long q = 0; q < x.live; q++) {
            const double length = len[x.place[q]];
            x.s[q] = (REAL)(of.ve[q] / length / length), x.a[q] += x.s[q];
            dd -= x.s[q] * of.ve[q], fd -= x.a[q] * of.ve[q];
        }
        if (x.live && guard->known > 0 && !(dd > of.ee / 16)) {
            NAME(look_at_rest)(&x, n, &dd, &fd, vd);
            for (long q = 0; q < x.live; q++) {
                const double length = len[x.place[q]], rest = vd[q] / length / length;
                x.s[q] += (REAL)rest, x.a[q] += (REAL)rest;
                dd -= rest * vd[q], fd -= x.a[q] * vd[q];
            }
        }
        for (long q = 0; q < x.live; q++) along[x.place[q]] = x.a[q];
        const REAL rest = dd > 0 ? (REAL)sqrt(dd) : 0;
        /* A NaN or an infinity fails both, and nothing new in the difference fails the first. */
        const int usable = guard->known > 0 && rest > p->floor * sqrt(of.ee) && rest > p->tiny && rest < (REAL)INFINITY;
        const REAL c = usable ? (REAL)(fd / dd) : 0;
        const int finite = NAME(tgs_move)(&x, n, kept, usable ? V + slot * n : NULL, W + slot * n, c, beta, oi);
        len[slot] = usable ? rest : 0, along[slot] = c;
        guard->known = 1;
        if (!finite) {
            NAME(restart)(guard, best, oi, n);
            for (long j = 0; j < m; j++) len[j] = 0;
        }
    }
}
