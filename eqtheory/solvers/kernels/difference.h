/* What the kernels of Anderson's iteration have in common: the newest difference of residuals against those that are remembered. */

/* What one sample brings: f at the previous step, columns v and moves w that exist, the one to be replaced last; a: the coefficients
   with which the moves made the last proposal, s: others that belong to the columns. */
#undef SAMPLE
#define SAMPLE NAME(sample)
typedef struct {
    const REAL *y, *g;
    REAL *f, *v[LONGEST], *w[LONGEST];
    REAL s[LONGEST], a[LONGEST];
    long place[LONGEST], live;
} SAMPLE;

/* Squares of f = g - y, of g and of e = f - f_, the product of f and e, and those of e with the columns. */
#undef PRODUCTS
#define PRODUCTS NAME(products)
typedef struct {
    double ff, gg, ee, fe, ve[LONGEST];
} PRODUCTS;

static inline __attribute__((always_inline)) void NAME(look_)(const SAMPLE *x, long n, long columns, PRODUCTS *of) {
    VECTOR ff = {0}, gg = {0}, ee = {0}, fe = {0}, ve[LONGEST];
    for (long q = 0; q < columns; q++) ve[q] = NAME(all)(0);
    EACH(n, const VECTOR g = AT(x->g), f = g - AT(x->y), e = f - AT(x->f);
         ff += f * f; gg += g * g; ee += e * e; fe += f * e;
         for (long q = 0; q < columns; q++) ve[q] += AT(x->v[q]) * e;);
    of->ff = NAME(total)(ff), of->gg = NAME(total)(gg), of->ee = NAME(total)(ee), of->fe = NAME(total)(fe);
    for (long q = 0; q < columns; q++) of->ve[q] = NAME(total)(ve[q]);
}

/* Few columns are held in registers. */
static void NAME(look)(const SAMPLE *x, long n, long columns, PRODUCTS *of) {
#define CASE(m) case m: NAME(look_)(x, n, m, of); break;
    switch (columns) {
        CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9)
        default: NAME(look_)(x, n, columns, of);
    }
#undef CASE
}

/* The image at the previous state, from which the moves made the last proposal: y = y_ + beta f_ - sum a w. */
static void NAME(image_before)(const SAMPLE *x, long n, REAL beta, REAL *image) {
    EACH(n, VECTOR h = AT(x->y) + (1 - beta) * AT(x->f);
         for (long q = 0; q < x->live; q++) h += x->a[q] * AT(x->w[q]);
         PUT(image, h););
}
