/* Thirty-two bytes of numbers at a time. */

#undef LANES
#undef VECTOR
#define LANES ((long)(32 / sizeof(REAL)))
#define VECTOR NAME(vector)

typedef REAL VECTOR __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));

static inline __attribute__((always_inline)) VECTOR NAME(load)(const REAL *p) { return *(const VECTOR *)p; }

static inline __attribute__((always_inline)) void NAME(store)(REAL *p, VECTOR v) { *(VECTOR *)p = v; }

static inline __attribute__((always_inline)) VECTOR NAME(all)(REAL a) { return a - (VECTOR){0}; }

/* The sum of the lanes, in pairs. */
static inline double NAME(total)(VECTOR v) {
    for (long half = LANES / 2; half; half /= 2)
        for (long c = 0; c < half; c++) v[c] += v[c + half];
    return v[0];
}

/* The last k < LANES numbers of a row, and zeros behind them. */
static inline __attribute__((always_inline)) VECTOR NAME(load_some)(const REAL *p, long k) {
    VECTOR v = {0};
    memcpy(&v, p, k * sizeof(REAL));
    return v;
}

static inline __attribute__((always_inline)) void NAME(store_some)(REAL *p, VECTOR v, long k) { memcpy(p, &v, k * sizeof(REAL)); }

#undef AT
#undef PUT
#define AT(p) (some == LANES ? NAME(load)((p) + k) : NAME(load_some)((p) + k, some))
#define PUT(p, v)                                            \
    do {                                                     \
        if (some == LANES) NAME(store)((p) + k, v);          \
        else NAME(store_some)((p) + k, v, some);             \
    } while (0)

/* Run through a row: `some` numbers from `k` on, a whole vector but for the last time. */
#undef EACH
#define EACH(n, ...)                                         \
    do {                                                     \
        long k = 0;                                          \
        for (; k + LANES <= (n); k += LANES) {               \
            const long some = LANES;                         \
            __VA_ARGS__                                      \
        }                                                    \
        if (k < (n)) {                                       \
            const long some = (n) - k;                       \
            __VA_ARGS__                                      \
        }                                                    \
    } while (0)
