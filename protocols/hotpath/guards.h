/* Guards: what values must be for the construct declarations to take them. Most rows pass by bounds on their bytes and numbers,
 * compared side by side; the others are looked at closely. */
#ifndef TELELOOP_GUARDS_H
#define TELELOOP_GUARDS_H

static int date_holds(const uint8_t *p) { /* years from 2000 to 2099 */
    static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = p[0] % 4 == 0 && p[1] == 2;
    return p[0] <= 99 && p[1] >= 1 && p[1] <= 12 && p[2] >= 1 && p[2] <= days[p[1]] + leap;
}

static inline int text_holds(const uint8_t *p, int64_t width) { /* printable ASCII, filled up with zeros */
    const uint64_t ones = 0x0101010101010101ull, tops = ones << 7;
    int64_t i = 0;
    for (; i + 8 <= width; i += 8) {
        uint64_t v = load64(p + i);
        if (((v & tops) | ((v + ones) & tops) | ~((v | tops) - 0x20 * ones)) & tops)
            break;
    }
    while (i < width && p[i] >= 0x20 && p[i] < 0x7F)
        i++;
    while (i < width && !p[i])
        i++;
    return i == width;
}

static inline int guarded(const table_t *t, const uint8_t *row) {
    for (uint32_t i = 0; i < t->guards; i++) {
        const guard_t *g = &t->guard[i];
        if (g->kind == GUARD_RANGE) {
            uint64_t v = load64(row + g->at) & ~0ull >> (64 - 8 * g->width);
            if (v < (uint64_t)g->low || v > (uint64_t)g->high)
                return 0;
        } else if (g->kind == GUARD_TEXT ? !text_holds(row + g->at, g->width) : !date_holds(row + g->at))
            return 0;
    }
    return 1;
}

/* Bounds within which every byte that a guard is about is right; what is outside may be right all the same. */
static int bound(table_t *t, int64_t at, uint8_t low, uint8_t high) {
    uint32_t i = 0;
    while (i < t->bands && (at < t->band[i].at || at >= t->band[i].at + 32))
        i++;
    if (i == t->bands) {
        if (i == BANDS || t->row_size < 32)
            return 0;
        memset(&t->band[i], 0, sizeof t->band[i]);
        memset(t->band[i].high, 255, 32);
        t->band[i].at = (uint32_t)(at + 32 > t->row_size ? t->row_size - 32 : at), t->bands++;
    }
    t->band[i].low[at - t->band[i].at] = low, t->band[i].high[at - t->band[i].at] = high;
    return 1;
}

/* Whether the bounds are enough to let a row pass. */
static int bounds(table_t *t) {
    static const uint8_t low[3] = {0, 1, 1}, high[3] = {99, 12, 28};
    int right = 1;
    for (uint32_t i = 0; i < t->guards; i++) {
        const guard_t *g = &t->guard[i];
        if (g->kind == GUARD_RANGE && (g->width > 1 || g->low < 0 || g->high > 255 || g->low > g->high)) {
            if (g->low < 0 || g->high < g->low)
                return 0;
            t->span[t->spans++] = (span_t){~0ull >> (64 - 8 * g->width), (uint64_t)g->low, (uint64_t)g->high - (uint64_t)g->low, (uint32_t)g->at};
            continue;
        }
        for (int64_t k = 0; k < g->width; k++)
            if (g->kind == GUARD_RANGE)
                right &= bound(t, g->at + k, (uint8_t)g->low, (uint8_t)g->high);
            else
                right &= g->kind == GUARD_TEXT ? bound(t, g->at + k, 0x20, 0x7E) : bound(t, g->at + k, low[k], high[k]);
    }
    return right;
}

static inline uint64_t out_of_span(const table_t *t, const uint8_t *row) {
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < t->spans; i++)
        wrong |= (load64(row + t->span[i].at) & t->span[i].mask) - t->span[i].low > t->span[i].span;
    return wrong;
}

static inline int holds_portably(const table_t *t, const uint8_t *row) {
    return guarded(t, row);
}

#if SIMD
TARGET_CLMUL static inline __attribute__((always_inline)) int holds_fast(const table_t *t, const uint8_t *row) {
    if (!t->bounded)
        return guarded(t, row);
    __m128i right = _mm_set1_epi8(-1);
    for (uint32_t i = 0; i < t->bands; i++)
        for (uint32_t k = 0; k < 32; k += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(row + t->band[i].at + k));
            __m128i within = _mm_min_epu8(v, _mm_loadu_si128((const __m128i *)(t->band[i].high + k)));
            within = _mm_max_epu8(within, _mm_loadu_si128((const __m128i *)(t->band[i].low + k)));
            right = _mm_and_si128(right, _mm_cmpeq_epi8(within, v));
        }
    return (!out_of_span(t, row) & (_mm_movemask_epi8(right) == 0xFFFF)) || guarded(t, row);
}

TARGET_WIDE static inline __attribute__((always_inline)) int holds_wide(const table_t *t, const uint8_t *row) {
    if (!t->bounded)
        return guarded(t, row);
    __m256i right = _mm256_set1_epi8(-1);
    for (uint32_t i = 0; i < t->bands; i++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(row + t->band[i].at));
        __m256i within = _mm256_min_epu8(v, _mm256_loadu_si256((const __m256i *)t->band[i].high));
        within = _mm256_max_epu8(within, _mm256_loadu_si256((const __m256i *)t->band[i].low));
        right = _mm256_and_si256(right, _mm256_cmpeq_epi8(within, v));
    }
    return (!out_of_span(t, row) & (_mm256_movemask_epi8(right) == -1)) || guarded(t, row);
}
#endif

#endif
