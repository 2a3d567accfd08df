/* What a plan does with a part: whether it agrees, its checksum, its row; and the part that a row says. Once for each kind of
 * processor, for one part at a time. */
#ifndef TELELOOP_FILL_H
#define TELELOOP_FILL_H

static inline void move_portably(const move_t *m, uint32_t n, const uint8_t *from, uint8_t *to, const uint8_t *constant) {
    for (uint32_t i = 0; i < n; i++) {
        uint8_t v[16] = {0};
        if (m[i].first != ZERO)
            memcpy(v, m[i].first == CONSTANT ? constant + m[i].to : to + m[i].to, 16);
        for (int k = 0; k < 16; k++)
            if (!(m[i].order[k] & 0x80))
                v[k] |= from[m[i].from + m[i].order[k]];
        memcpy(to + m[i].to, v, 16);
    }
}

static uint32_t sum_portably(const table_t *t, const uint8_t *p, size_t n) {
    return t->framing.sum_kind == SUM_XOR ? xor_of(p, n) : crc_tables(&t->crc, p, n);
}

static inline void fill_portably(const table_t *t, const plan_t *plan, const uint8_t *from, uint8_t *row) {
    const uint16_t *at = froms(t, plan);
    const extra_t *m = extras(plan, checks(t, plan));
    for (uint32_t i = 0; i < t->row_size; i++)
        row[i] = plan->order[i] & 0x80 ? 0 : from[at[i / 16] + plan->order[i]];
    for (uint32_t i = 0; i < plan->extras; i++)
        for (int k = 0; k < 16; k++)
            if (!(m[i].order[k] & 0x80))
                row[m[i].to + k] |= from[m[i].from + m[i].order[k]];
}

#if SIMD
TARGET_CLMUL static inline __attribute__((always_inline)) void move_fast(const move_t *m, uint32_t n, const uint8_t *from,
                                                                        uint8_t *to, const uint8_t *constant) {
    __m128i v = _mm_setzero_si128();
    for (uint32_t i = 0; i < n; i++) {
        __m128i part = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from + m[i].from)),
                                        _mm_loadu_si128((const __m128i *)m[i].order));
        if (m[i].first == ZERO)
            v = part;
        else
            v = _mm_or_si128(m[i].first ? _mm_loadu_si128((const __m128i *)(constant + m[i].to)) : v, part);
        _mm_storeu_si128((__m128i *)(to + m[i].to), v);
    }
}

TARGET_CLMUL static inline __attribute__((always_inline)) __m128i taken_from(const uint8_t *from, const uint8_t *order) {
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)from), _mm_loadu_si128((const __m128i *)order));
}

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_extras(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                           uint8_t *row) {
    const extra_t *m = extras(plan, checks(t, plan));
    for (const extra_t *end = m + plan->extras; m < end; m++) {
        __m128i *to = (__m128i *)(row + m->to);
        _mm_storeu_si128(to, _mm_or_si128(_mm_loadu_si128(to), taken_from(from + m->from, m->order)));
    }
}

TARGET_CLMUL static inline __attribute__((always_inline)) void fill_fast(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                        uint8_t *row) {
    const uint16_t *at = froms(t, plan);
    for (uint32_t i = 0; i < t->row_size / 16; i++)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + at[i], plan->order + 16 * i));
    fill_extras(t, plan, from, row);
}

TARGET_WIDE static inline __attribute__((always_inline)) __m256i both_from(const uint8_t *p, uint32_t a, uint32_t b, __m256i order) {
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + a)));
    return _mm256_shuffle_epi8(_mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(p + b)), 1), order);
}

TARGET_WIDE static inline __attribute__((always_inline)) __m256i wide_at(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

TARGET_WIDE static inline __attribute__((always_inline)) void fill_wide(const table_t *t, const plan_t *plan, const uint8_t *from,
                                                                       uint8_t *row) {
    const uint32_t blocks = t->row_size / 16;
    const uint16_t *at = froms(t, plan);
    uint32_t i = 0;
#pragma GCC unroll 2
    for (; i + 2 <= blocks; i += 2)
        _mm256_storeu_si256((__m256i *)(row + 16 * i), both_from(from, at[i], at[i + 1], wide_at(plan->order + 16 * i)));
    if (i < blocks)
        _mm_storeu_si128((__m128i *)(row + 16 * i), taken_from(from + at[i], plan->order + 16 * i));
    if (blocks == 1) {
        fill_extras(t, plan, from, row);
        return;
    }
    const duo_t *duo = duos(plan, checks(t, plan));
    for (const duo_t *end = duo + plan->duos; duo < end; duo++) {
        __m256i *to = (__m256i *)(row + duo->to);
        _mm256_storeu_si256(to, _mm256_or_si256(_mm256_loadu_si256(to), both_from(from, duo->a, duo->b, wide_at(duo->order))));
    }
}

/* Whether a part says what the plan's checks say; it is at least CHECK bytes long. */
TARGET_CLMUL static inline __attribute__((always_inline)) int agrees_fast(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m128i wrong = _mm_setzero_si128();
    for (uint32_t i = 0; i < plan->checks; i++) {
        const __m128i *at = (const __m128i *)(p + place[i]), *mask = (const __m128i *)check[i].mask;
        __m128i a = _mm_xor_si128(_mm_loadu_si128(at), _mm_loadu_si128(mask + 2));
        __m128i b = _mm_xor_si128(_mm_loadu_si128(at + 1), _mm_loadu_si128(mask + 3));
        wrong = _mm_or_si128(wrong, _mm_and_si128(a, _mm_loadu_si128(mask)));
        wrong = _mm_or_si128(wrong, _mm_and_si128(b, _mm_loadu_si128(mask + 1)));
    }
    return _mm_testz_si128(wrong, wrong);
}

TARGET_WIDE static inline __attribute__((always_inline)) int agrees_wide(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m256i wrong = _mm256_setzero_si256();
    for (const check_t *end = check + plan->checks; check < end; check++, place++) {
        const __m256i *mask = (const __m256i *)check->mask;
        __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(p + *place)), _mm256_loadu_si256(mask + 1));
        wrong = _mm256_or_si256(wrong, _mm256_and_si256(v, _mm256_loadu_si256(mask)));
    }
    return _mm256_testz_si256(wrong, wrong);
}

/* One checksum after the other; `kind` is the table's, known where this is compiled. */
TARGET_CLMUL static inline __attribute__((always_inline)) uint32_t sum_fast(const table_t *t, const uint8_t *p, size_t n) {
    if (t->framing.sum_kind == SUM_XOR)
        return xor_of(p, n);
    if (n < 16)
        return crc_tables(&t->crc, p, n);
    return t->crc.reflected ? crc_folded(&t->crc, p, n, 1) : crc_folded(&t->crc, p, n, 0);
}

TARGET_WIDE static inline __attribute__((always_inline)) uint32_t sum_wide(const table_t *t, const uint8_t *p, size_t n) {
    return t->framing.sum_kind == SUM_XOR ? xor_wide(p, n) : sum_fast(t, p, n);
}

TARGET_VAST static inline __attribute__((always_inline)) uint32_t sum_vast(const table_t *t, const uint8_t *p, size_t n) {
    if (t->framing.sum_kind == SUM_XOR)
        return xor_wide(p, n);
    if (n < 16)
        return crc_tables(&t->crc, p, n);
    return t->crc.reflected ? crc_long(&t->crc, &t->fold, p, n, 1) : crc_long(&t->crc, &t->fold, p, n, 0);
}
#endif

static inline int agrees_portably(const table_t *t, const plan_t *plan, const uint8_t *p) {
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < plan->checks; i++)
        for (uint32_t k = 0; k < CHECK; k += 8)
            wrong |= (load64(p + place[i] + k) ^ load64(check[i].value + k)) & load64(check[i].mask + k);
    return !wrong;
}

static int narrow_agrees(const plan_t *plan, const uint8_t *p) { /* a part that is shorter than a check */
    uint8_t wrong = 0;
    for (uint32_t i = 0; i < plan->size; i++)
        wrong |= (uint8_t)((p[i] ^ plan->rest->part[i]) & plan->rest->mask[i]);
    return !wrong;
}

/* The part that a row says. */
static void lay_portably(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_portably(plan->rest->lay, plan->rest->lays, row, to, plan->rest->part);
}

#if SIMD
TARGET_CLMUL static void lay_fast(const plan_t *plan, const uint8_t *row, uint8_t *to) {
    move_fast(plan->rest->lay, plan->rest->lays, row, to, plan->rest->part);
}

TARGET_CLMUL static uint32_t sum_of_fast(const table_t *t, const uint8_t *p, size_t n) {
    return sum_fast(t, p, n);
}

TARGET_VAST static uint32_t sum_of_vast(const table_t *t, const uint8_t *p, size_t n) {
    return sum_vast(t, p, n);
}
#endif

#endif
