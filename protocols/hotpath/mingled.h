/* Frames of any layouts that can be taken by their ends, in the order in which they come: a layout is found by one or two words of the
 * frame, and what of it is not so is seen when it is compared as a whole; whether all of a tile are right is asked once. If they are not,
 * they are looked at again, as frames of any layouts. Included by whole.h. */

#if SIMD
enum { STRIDE = 16 };                                          /* frames that are looked up before their rows are written */
#define TARGET_TOLD __attribute__((target("bmi2")))

/* Which layout each of the next frames most likely is of; 0 if one is of none that can be taken so. */
TARGET_TOLD INLINE int looked_up(all_ends_t *a, const frames_t *f, size_t at, uint64_t now, int32_t *ids, const ends_t *e[STRIDE], int of_list, uint32_t words) {
    const factor_t word[2] = {a->word[0], a->word[1]};         /* a copy: it is not loaded again whenever something is stored */
    const uint32_t shift = a->shift;
    const size_t ends_size = a->size;
    const uint16_t *const slot = a->slot;
    const uint8_t *const of = a->of;
    uint64_t *const used = a->used;
    PyObject *const *const each = of_list ? f->list + at : NULL, *const *const ahead = of_list && at + 2 * STRIDE <= f->n ? each + STRIDE : each;
    uint32_t wrong = 0;
#pragma GCC unroll 2
    for (size_t i = 0; i < STRIDE; i++) {
        const uint8_t *p;
        size_t size;
        if (of_list) {
            const char *next = (const char *)ahead[i];
            __builtin_prefetch(next), __builtin_prefetch(next + 64), __builtin_prefetch(next + 128);
            if (Py_TYPE(each[i]) != &PyBytes_Type)
                return 0;
            p = (const uint8_t *)((const PyBytesObject *)each[i])->ob_sval, size = (size_t)Py_SIZE(each[i]);
        } else
            p = f->data + f->offsets[at + i], size = f->offsets[at + i + 1] - f->offsets[at + i];
        if (size < 64)
            return 0;
        const size_t k = slot[ends_hash(word, p, words) >> shift];
        e[i] = (const ends_t *)(of + k * ends_size), used[k] = now, ids[i] = e[i]->id;
        wrong |= e[i]->size ^ (uint32_t)size;
    }
    return !wrong;
}

TARGET_TOLD static __attribute__((noinline)) int all_looked_up(all_ends_t *a, const frames_t *f, size_t at, uint64_t now, int32_t *ids, const ends_t *e[STRIDE]) {
    if (a->words > 1)
        return f->list ? looked_up(a, f, at, now, ids, e, 1, 2) : looked_up(a, f, at, now, ids, e, 0, 2);
    return f->list ? looked_up(a, f, at, now, ids, e, 1, 1) : looked_up(a, f, at, now, ids, e, 0, 1);
}

/* What the beginnings of two frames add up to, each twice 16 bytes, and with it their last 32 bytes, which share a register. */
TARGET_BROAD INLINE __m512i two_folded(__m512i v, __m512i w, __m512i tail, __m512i other, const sized_t *s, const sized_t *of_other, __m512i by) {
    const __m512i turn = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(wide_at(s->turn + 32)), 0xF0, wide_at(of_other->turn + 32));
    const __m512i tails = _mm512_shuffle_epi8(_mm512_shuffle_i64x2(tail, other, 0xEE), turn);
    const __m512i a = _mm512_ternarylogic_epi64(_mm512_shuffle_i64x2(v, w, 0x44), _mm512_shuffle_i64x2(v, w, 0xEE), _mm512_clmulepi64_epi128(tails, by, 0x11), 0x96);
    return _mm512_xor_si512(a, _mm512_clmulepi64_epi128(tails, by, 0x00));
}

/* A row's 64 bytes, or the last few, of four frames. */
TARGET_BROAD INLINE void write_of_tails(const ends_t *const *e, const __m512i tail[4], uint32_t k, uint8_t *row, size_t row_size) {
    const int few = row_size == 64 * k + 16;
    row += few ? 64 * k : glance_row_at((uint32_t)row_size, k);
    if (few)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, row += row_size)
            _mm_storeu_si128((__m128i *)row, _mm512_castsi512_si128(_mm512_permutexvar_epi8(_mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)e[i]->few)), tail[i])));
    else
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, row += row_size)
            _mm512_storeu_si512(row, _mm512_permutexvar_epi8(broad_at(e[i]->order + 64 * k), tail[i]));
}

/* Rows of the next frames, which are of these layouts, if all of them are right. */
TARGET_BROAD INLINE int rows_of(const table_t *t, const frames_t *f, size_t at, uint8_t *row, const ends_t *const told[STRIDE], int of_list, int headed, int brief) {
    const all_ends_t *a = t->sorts->ends;
    const size_t row_size = t->row_size;
    const uint8_t *const sized = (const uint8_t *)a->sized;
    const __m512i reversed = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __m512i by_tail = broad_at(t->residues.by[0]), by = brief ? _mm512_shuffle_i64x2(by_tail, by_tail, 0xEE) : by_tail;
    const __m512i structure = broad_at(a->structure), said = _mm512_set1_epi32((int)(~0u << (32 - t->crc.width)));
    __m512i differs = _mm512_setzero_si512(), left = differs, sums[STRIDE / 4];
    for (size_t from = 0; from < STRIDE; from += 4, row += 4 * row_size) {
        const ends_t *const *e = told + from;
        const sized_t *s[4];
        __m512i head[4], tail[4], sum[4];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const size_t k = at + from + i;
            const uint8_t *p = of_list ? (const uint8_t *)((const PyBytesObject *)f->list[k])->ob_sval : f->data + f->offsets[k];
            s[i] = (const sized_t *)(sized + e[i]->sized);
            head[i] = _mm512_xor_si512(broad_at(p), broad_at(e[i]->value));
            tail[i] = _mm512_maskz_loadu_epi32(0xFFFE, p + e[i]->size - 64);
            const __m512i v = _mm512_shuffle_epi8(head[i], reversed), by_head = broad_at(s[i]->by_head);
            sum[i] = _mm512_xor_si512(_mm512_clmulepi64_epi128(v, by_head, 0x11), _mm512_clmulepi64_epi128(v, by_head, 0x00));
            if (!brief) {
                const __m512i w = _mm512_shuffle_epi8(tail[i], broad_at(s[i]->turn));
                sum[i] = _mm512_ternarylogic_epi64(sum[i], _mm512_clmulepi64_epi128(w, by, 0x11), _mm512_clmulepi64_epi128(w, by, 0x00), 0x96);
            }
        }
        differs = either(either(differs, head[0], head[1]), head[2], head[3]);
        if (brief) {
            const __m512i a = two_folded(sum[0], sum[1], tail[0], tail[1], s[0], s[1], by), b = two_folded(sum[2], sum[3], tail[2], tail[3], s[2], s[3], by);
            sums[from / 4] = _mm512_xor_si512(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
        } else
            sums[from / 4] = four_folded(sum[0], sum[1], sum[2], sum[3]);
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const __m512i order = broad_at(e[i]->order), onto = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)e[i]->onto));
            const __m512i v = headed ? _mm512_permutexvar_epi8(order, head[i]) : _mm512_permutex2var_epi8(head[i], order, tail[i]);
            _mm512_storeu_si512(row + i * row_size, _mm512_xor_si512(v, onto));
        }
        write_of_tails(e, tail, 1, row, row_size);
        if (row_size > 128)
            write_of_tails(e, tail, 2, row, row_size);
        if (row_size > 192)
            write_of_tails(e, tail, 3, row, row_size);
    }
#pragma GCC unroll 4
    for (size_t k = 0; k < STRIDE / 4; k++)
        left = _mm512_or_si512(left, remainders_of(&t->fold, sums[k]));
    return !_mm512_test_epi32_mask(differs, structure) && !_mm512_mask_test_epi32_mask(0x1111, left, said);
}

TARGET_BROAD static __attribute__((noinline)) int rows_of_all(const table_t *t, const frames_t *f, size_t at, uint8_t *row, const ends_t *const told[STRIDE]) {
    const all_ends_t *a = t->sorts->ends;
    if (a->headed && a->brief)
        return f->list ? rows_of(t, f, at, row, told, 1, 1, 1) : rows_of(t, f, at, row, told, 0, 1, 1);
    if (a->headed)
        return f->list ? rows_of(t, f, at, row, told, 1, 1, 0) : rows_of(t, f, at, row, told, 0, 1, 0);
    if (a->brief)
        return f->list ? rows_of(t, f, at, row, told, 1, 0, 1) : rows_of(t, f, at, row, told, 0, 0, 1);
    return f->list ? rows_of(t, f, at, row, told, 1, 0, 0) : rows_of(t, f, at, row, told, 0, 0, 0);
}

TARGET_BROAD static __attribute__((noinline)) int beside_bounded(const table_t *t, const uint8_t *rows) {
    return tile_bounded(t, rows);
}

/* The next frames, as far as whole tiles of them can be taken so and are right: how many. */
static size_t mingled(table_t *t, walk_t *w, const frames_t *f, size_t begin) {
    size_t at = begin;
    for (int more_of_them = 1; more_of_them && f->n - at >= TILE; at += TILE) {
        const ends_t *e[TILE];
        uint8_t *const rows = w->rows + at * t->row_size;
        int right = 1;
        for (size_t i = 0; right && i < TILE; i += STRIDE)
            right = all_looked_up(t->sorts->ends, f, at + i, t->now, w->ids + at + i, e + i) && rows_of_all(t, f, at + i, rows + i * t->row_size, e + i);
        if (!right || (t->guards && !beside_bounded(t, rows))) {
            t->shy = WARY;
            break;
        }
        memset(w->status + at, VOUCHED, TILE);
        if (t->wary && e[0] == e[TILE / 2] && e[0] == e[TILE - 1]) /* most likely of one layout */
            more_of_them = --t->wary > 0;
    }
    return at - begin;
}
#endif
