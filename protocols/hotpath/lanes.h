/* Rows to whole numbers in steps of their last decimal, what of them is new, and how that is said.
 *
 * A row begins with one bit for each raw lane that is present. SILENT says nothing. Numbers are worked out in double precision
 * and rounded half to even, as numpy does. */
#ifndef TELELOOP_LANES_H
#define TELELOOP_LANES_H

#include <math.h>

#include "crc.h"

#define SILENT INT32_MIN
#define NO_CODE (-1)
enum { NOTHING, SCALE, LOOK_UP, COUNT };

typedef struct { /* as translate.py packs it */
    double factor, bias;
    int64_t low, high, mask;
    uint64_t most;                                             /* a raw value above it is none */
    uint32_t at, bit, lane, table;
    uint8_t width, is_signed, shift, kind, raw_shift, sign_bits, pad[2]; /* sign_bits: of two's complement in a wider lane */
    uint32_t raw_mask;
} rule_t;

typedef struct {
    const rule_t *rules;
    const uint32_t *starts;                                    /* models + 1: where each model's rules begin */
    const int16_t *codes;                                      /* tables of 256 */
    const int64_t *steps;
    uint32_t steps_width, lanes, models;
    const uint32_t *pairs;                                     /* lanes of which neither speaks without the other */
    uint32_t pairs_n;
} rules_t;

/* Whether there is a raw value, and which. */
static inline int raw_of(const rule_t *r, const uint8_t *row, int64_t *raw) {
    uint64_t v = load64(row + r->at);
    int spare = 64 - 8 * r->width;
    if (r->is_signed) {
        *raw = (int64_t)(v << spare) >> spare;
        return 1;
    }
    v = v << spare >> spare;
    *raw = (int64_t)(r->raw_mask ? v >> r->raw_shift & r->raw_mask : v);
    if (r->sign_bits && v >> (r->sign_bits - 1) == 1)
        *raw -= 1ll << r->sign_bits;
    return v <= r->most;
}

static inline int32_t rounded(double v) {
#if SIMD
    return _mm_cvtsd_si32(_mm_set_sd(v));                      /* INT_MIN, which is SILENT, beyond 32 bits */
#else
    v = nearbyint(v);
    return v >= -2147483648.0 && v <= 2147483647.0 ? (int32_t)v : SILENT;
#endif
}

static void translated(const rules_t *t, uint32_t model, const uint8_t *row, int32_t *lanes) {
    const rule_t *r = t->rules + t->starts[model], *end = t->rules + t->starts[model + 1];
    for (uint32_t i = 0; i < t->lanes; i++)
        lanes[i] = SILENT;
    for (; r < end; r++) {
        if (!(row[r->bit >> 3] >> (r->bit & 7) & 1))
            continue;
        int64_t v;
        if (!raw_of(r, row, &v) || v < r->low || v > r->high)
            continue;
        if (r->kind == SCALE) {
            lanes[r->lane] = rounded((double)v * r->factor + r->bias);
        } else if (r->kind == LOOK_UP) {
            int32_t code = t->codes[r->table * 256 + (uint32_t)(v >> r->shift & r->mask & 255)];
            lanes[r->lane] = code == NO_CODE ? SILENT : code;
        } else if (r->kind == COUNT) {
            int32_t n = 0;
            for (uint32_t k = 0; k < t->steps_width; k++)
                n += t->steps[r->table * t->steps_width + k] <= v;
            lanes[r->lane] = n;
        }
    }
    for (uint32_t i = 0; i < t->pairs_n; i += 2)
        if (lanes[t->pairs[i]] == SILENT || lanes[t->pairs[i + 1]] == SILENT)
            lanes[t->pairs[i]] = lanes[t->pairs[i + 1]] = SILENT;
}

/* What of `lanes` says something else than `shadow`, which then says the same. */
static uint64_t differing(const int32_t *lanes, int32_t *shadow, uint32_t n) {
    uint64_t changed = 0;
    for (uint32_t i = 0; i < n; i++)
        if (lanes[i] != SILENT && lanes[i] != shadow[i]) {
            changed |= 1ull << i;
            shadow[i] = lanes[i];
        }
    return changed;
}

#if SIMD
TARGET_WIDE static uint64_t differing_avx2(const int32_t *lanes, int32_t *shadow, uint32_t n) {
    const __m256i silent = _mm256_set1_epi32(SILENT);
    uint64_t changed = 0;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(lanes + i)), s = _mm256_loadu_si256((const __m256i *)(shadow + i));
        __m256i same = _mm256_or_si256(_mm256_cmpeq_epi32(v, silent), _mm256_cmpeq_epi32(v, s));
        _mm256_storeu_si256((__m256i *)(shadow + i), _mm256_blendv_epi8(v, s, same));
        changed |= (uint64_t)(uint8_t)~_mm256_movemask_ps(_mm256_castsi256_ps(same)) << i;
    }
    return i < n ? changed | differing(lanes + i, shadow + i, n - i) << i : changed;
}
#endif

typedef struct { int64_t at; uint32_t vehicle, lane; int32_t value; uint32_t row; } change_t; /* as translate.py names it */

/* Text ------------------------------------------------------------------------------------------------------------------ */

enum { SAY_NUMBER, SAY_NAME, SAY_DATE };
#define NAME_SPACE 48

typedef struct { /* as text.py packs it */
    char before[NAME_SPACE];                                   /* "key": or "key":{"lat": or ,"lon": */
    uint32_t before_size, kind, names, names_n;                /* names: the first of its own among all */
    uint32_t closes, comma;                                    /* a } follows; a comma stands before all but the first */
    uint64_t along;                                            /* the lane of the same property */
} saying_t;

typedef struct { char text[NAME_SPACE]; uint64_t size; } word_t;

static const char DIGITS[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960"
    "6162636465666768697071727374757677787980818283848586878889909192939495969798" "99";

static inline char *put_unsigned(char *p, uint32_t v) {
    char t[10];
    int i = 10;
    for (; v >= 100; v /= 100)
        i -= 2, memcpy(t + i, DIGITS + 2 * (v % 100), 2);
    if (v >= 10)
        i -= 2, memcpy(t + i, DIGITS + 2 * v, 2);
    else
        t[--i] = (char)('0' + v);
    memcpy(p, t + i, 10 - (size_t)i);
    return p + 10 - i;
}

static const uint32_t POWER[10] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000}; /* of ten */

static inline char *put_fixed(char *p, int32_t v, uint32_t decimals) {
    uint32_t u = v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
    if (v < 0)
        *p++ = '-';
    if (!decimals)
        return put_unsigned(p, u);
    uint32_t whole = u / POWER[decimals], rest = u - whole * POWER[decimals];
    p = put_unsigned(p, whole);
    *p++ = '.';
    for (uint32_t k = decimals; k--; rest /= 10)
        p[k] = (char)('0' + rest % 10);
    return p + decimals;
}

static inline char *put_day(char *p, int64_t days) { /* since 1970-01-01; Howard Hinnant's days to civil */
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    uint32_t doe = (uint32_t)(z - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    uint32_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    uint32_t year = (uint32_t)(yoe + era * 400 + (month <= 2));
    memcpy(p, DIGITS + 2 * (year / 100 % 100), 2), memcpy(p + 2, DIGITS + 2 * (year % 100), 2);
    p[4] = '-', memcpy(p + 5, DIGITS + 2 * month, 2), p[7] = '-', memcpy(p + 8, DIGITS + 2 * day, 2);
    return p + 10;
}

/* Unix milliseconds by RFC 3339; milliseconds only if there are any. The day is kept from one call to the next. */
static inline char *put_time(char *p, int64_t at, int64_t *day, char date[10]) {
    int64_t days = at / 86400000 - (at % 86400000 < 0);
    uint32_t ms = (uint32_t)(at - days * 86400000), s = ms / 1000;
    if (days != *day)
        put_day(date, days), *day = days;
    ms -= s * 1000;
    memcpy(p, date, 10), p[10] = 'T', memcpy(p + 11, DIGITS + 2 * (s / 3600), 2), p[13] = ':';
    memcpy(p + 14, DIGITS + 2 * (s / 60 % 60), 2), p[16] = ':', memcpy(p + 17, DIGITS + 2 * (s % 60), 2);
    p += 19;
    if (ms)
        *p++ = '.', *p++ = (char)('0' + ms / 100), memcpy(p, DIGITS + 2 * (ms % 100), 2), p += 2;
    *p++ = 'Z';
    return p;
}

/* "key":value for each changed lane, at most 2 * NAME_SPACE + 16 bytes each. */
static inline char *put_lanes(char *p, const saying_t *s, const word_t *words, const uint8_t *decimals, const int32_t *lanes,
                              uint64_t changed) {
    const char *begin = p;
    for (; changed; changed &= changed - 1) {
        uint32_t k = (uint32_t)__builtin_ctzll(changed);
        if (s[k].comma && p != begin)
            *p++ = ',';
        memcpy(p, s[k].before, NAME_SPACE), p += s[k].before_size;
        if (s[k].kind == SAY_NAME) {
            if ((uint32_t)lanes[k] < s[k].names_n) {
                const word_t *w = words + s[k].names + lanes[k];
                memcpy(p, w->text, NAME_SPACE), p += w->size;
            } else
                memcpy(p, "null", 4), p += 4;
        } else if (s[k].kind == SAY_DATE)
            *p++ = '"', p = put_day(p, lanes[k]), *p++ = '"';
        else
            p = put_fixed(p, lanes[k], decimals[k]);
        if (s[k].closes)
            *p++ = '}';
    }
    return p;
}

#endif
