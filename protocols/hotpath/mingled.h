/* Frames of any layouts that can be taken by their ends, in the order in which they come: a layout is found by one or two words of the
 * frame, and what of it is not so is seen when it is compared as a whole; whether all of a tile are right is asked once. If they are not,
 * they are looked at again, as frames of any layouts. Included by whole.h.
 *
 * The layouts of the next four frames are looked up before the rows of these four are written: the one takes what ports of the processor
 * the other leaves, which waits for the one that multiplies and permutes. Apart, one after the other, they took as long as both. */

#if SIMD
enum { GROUP = 4, AHEAD = 16 };                                /* frames that are worked on side by side; and how long before they are fetched */
#define TARGET_TOLD __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,vpclmulqdq,avx2,sse4.1,ssse3,pclmul,bmi2")))

/* The next frames of a list, or of a buffer. */
typedef struct { PyObject *const *each; const uint8_t *data; const uint32_t *offset; } next_t;

INLINE const uint8_t *next_at(next_t n, size_t i, int of_list) {
    return of_list ? (const uint8_t *)((const PyBytesObject *)n.each[i])->ob_sval : n.data + n.offset[i];
}

INLINE size_t next_size(next_t n, size_t i, int of_list) {
    return of_list ? (size_t)Py_SIZE(n.each[i]) : n.offset[i + 1] - n.offset[i];
}

INLINE next_t next_four(next_t n, int of_list) {
    return of_list ? (next_t){n.each + GROUP, NULL, NULL} : (next_t){NULL, n.data, n.offset + GROUP};
}

/* Which layout each of four frames most likely is of; 0 if one is no bytes, or shorter than any of the layouts'. */
TARGET_TOLD INLINE int four_told(const all_ends_t *a, next_t n, found_t *told, int of_list, uint32_t words) {
    const PyTypeObject *bytes = &PyBytes_Type;
    factor_t word[2] = {a->word[0], a->word[1]};
    uint32_t shift = a->shift;
    if (of_list)                                               /* loaded here each time: kept from group to group, they would take what the rows need */
        __asm__("" : "+r"(bytes), "+r"(shift), "+r"(word[0].mask), "+r"(word[0].by), "+r"(word[0].at));
#pragma GCC unroll 4
    for (size_t i = 0; i < GROUP; i++) {
        if ((of_list && Py_TYPE(n.each[i]) != bytes) || next_size(n, i, of_list) < a->least)
            return 0;
        told[i] = a->slot[ends_hash(word, next_at(n, i, of_list), words) >> shift];
    }
    return 1;
}

INLINE void four_fetched(PyObject *const *each) {
#pragma GCC unroll 4
    for (size_t i = 0; i < GROUP; i++) {
        const char *next = (const char *)each[i];
        __builtin_prefetch(next), __builtin_prefetch(next + 64), __builtin_prefetch(next + 128);
    }
}

/* What two registers' halves add up to, beside each other. */
TARGET_TOLD INLINE __m512i halves_of(__m512i v, __m512i w) {
    const __m512i across = _mm512_shuffle_i64x2(v, w, 0x4E), sum = _mm512_xor_si512(across, v);
    return _mm512_mask_xor_epi64(sum, 0xF0, across, w);
}

/* What the beginnings of two frames add up to, each twice 16 bytes, and with it their last 32 bytes, which share a register. */
TARGET_TOLD INLINE __m512i two_folded(__m512i v, __m512i w, __m512i tail, __m512i other, const sized_t *s, const sized_t *of_other, __m512i by) {
    const __m512i turn = _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(wide_at(s->turn + 32)), 0xF0, wide_at(of_other->turn + 32));
    const __m512i tails = _mm512_shuffle_epi8(_mm512_shuffle_i64x2(tail, other, 0xEE), turn);
    return _mm512_ternarylogic_epi64(halves_of(v, w), _mm512_clmulepi64_epi128(tails, by, 0x11), _mm512_clmulepi64_epi128(tails, by, 0x00), 0x96);
}

/* A row's bytes from `to` on, 64 or the last 16, of four frames. */
TARGET_TOLD INLINE void write_of_tails(ends_t *const *e, const __m512i tail[GROUP], size_t to, int few, uint8_t *row, size_t row_size) {
    row += to;
#pragma GCC unroll 4
    for (int i = 0; i < GROUP; i++, row += row_size)
        if (few)
            _mm_storeu_si128((__m128i *)row, _mm512_castsi512_si128(_mm512_permutexvar_epi8(_mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)e[i]->few)), tail[i])));
        else
            _mm512_storeu_si512(row, _mm512_permutexvar_epi8(broad_at(e[i]->order + (to + 63) / 64 * 64), tail[i]));
}

/* All of a row behind its first 64 bytes. */
TARGET_TOLD INLINE void write_behind(ends_t *const *e, const __m512i tail[GROUP], uint8_t *row, size_t row_size) {
    if (row_size >= 128)
        write_of_tails(e, tail, 64, 0, row, row_size);
    if (row_size >= 192)
        write_of_tails(e, tail, 128, 0, row, row_size);
    if (row_size == 80 || row_size == 144 || row_size == 208)
        write_of_tails(e, tail, row_size - 16, 1, row, row_size);
    else if (row_size % 64 || row_size == 256)
        write_of_tails(e, tail, row_size - 64, 0, row, row_size);
}

TARGET_BROAD static __attribute__((noinline)) int beside_bounded(const table_t *t, const uint8_t *rows) {
    return tile_bounded(t, rows);
}

/* The next frames, as far as whole tiles of them can be taken so and are right: how many. */
TARGET_TOLD INLINE size_t tiles_of(table_t *t, walk_t *w, const frames_t *f, size_t begin, int of_list, uint32_t words, int headed, int brief, int cut) {
    all_ends_t *const a = t->sorts->ends;
    const size_t row_size = t->row_size, width = (size_t)t->framing.sum_width;
    const uint64_t in_this_walk = t->now << 32;
    const int within = t->guards && a->bounded, beside = t->guards && !within;
    const __m512i reversed = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)), zero = _mm512_setzero_si512();
    const __m512i by_tail = broad_at(t->residues.by[0]), by = brief ? _mm512_shuffle_i64x2(by_tail, by_tail, 0xEE) : by_tail;
    const __m512i said = _mm512_set1_epi32((int)(~0u << (32 - t->crc.width)));
    PyObject *const *const fetched = of_list ? f->list + f->n - 2 * GROUP - AHEAD : NULL;
    next_t n = of_list ? (next_t){f->list + begin, NULL, NULL} : (next_t){NULL, f->data, f->offsets + begin};
    found_t told[TILE + GROUP];
    size_t at = begin;
    if (!four_told(a, n, told, of_list, words))
        goto shy;
    for (int more_of_them = 1; more_of_them && f->n - at >= TILE; at += TILE) {
        uint8_t *const rows = w->rows + at * row_size, *row = rows;
        found_t *found = told, *const last = told + TILE - (f->n - at < 2 * TILE ? GROUP : 0);
        const next_t these = n;
        __m512i differs = zero, left = zero, most = zero;
        uint64_t other = 0;                                    /* sizes than the layouts', or layouts not used yet in this walk */
        for (; found < told + TILE; found += GROUP, row += GROUP * row_size, n = next_four(n, of_list)) {
            ends_t *e[GROUP];
            const sized_t *s[GROUP];
            __m512i head[GROUP], tail[GROUP], sum[GROUP];
            if (of_list && n.each <= fetched)
                four_fetched(n.each + GROUP + AHEAD);
            if (found < last && !four_told(a, next_four(n, of_list), found + GROUP, of_list, words))
                goto shy;
#pragma GCC unroll 4
            for (size_t i = 0; i < GROUP; i++) {
                const uint8_t *p = next_at(n, i, of_list);
                const size_t size = next_size(n, i, of_list);
                e[i] = (ends_t *)((uint8_t *)a + found[i].at), s[i] = e[i]->sized;
                other |= e[i]->fresh ^ (in_this_walk + size);
                if (cut) {                                     /* by the frame's own size, whatever it may be: nothing beside it is read */
                    head[i] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(_bzhi_u64(~0ull, (uint32_t)(size - width)), p), broad_at(e[i]->value));
                    tail[i] = _mm512_maskz_loadu_epi8(~0ull << (size < 64 - GONE ? 64 - size : GONE), (const void *)((uintptr_t)p + size - 64));
                } else {
                    head[i] = _mm512_xor_si512(broad_at(p), broad_at(e[i]->value));
                    tail[i] = _mm512_maskz_loadu_epi32(0xFFFE, p + size - 64);
                }
                const __m512i v = _mm512_shuffle_epi8(head[i], reversed);
                __m512i by_head;
                __asm__("vmovdqa64 %1, %0" : "=v"(by_head) : "m"(*(const __m512i *)s[i]->by_head)); /* or gcc stores it to load it again */
                sum[i] = _mm512_xor_si512(_mm512_clmulepi64_epi128(v, by_head, 0x11), _mm512_clmulepi64_epi128(v, by_head, 0x00));
                if (!brief) {
                    const __m512i w = _mm512_shuffle_epi8(tail[i], broad_at(s[i]->turn));
                    sum[i] = _mm512_ternarylogic_epi64(sum[i], _mm512_clmulepi64_epi128(w, by, 0x11), _mm512_clmulepi64_epi128(w, by, 0x00), 0x96);
                }
                most = _mm512_max_epu16(most, head[i]);
            }
            differs = either(either(differs, head[0], head[1]), head[2], head[3]);
            __m512i all;
            if (brief) {
                const __m512i v = two_folded(sum[0], sum[1], tail[0], tail[1], s[0], s[1], by), u = two_folded(sum[2], sum[3], tail[2], tail[3], s[2], s[3], by);
                all = _mm512_xor_si512(_mm512_shuffle_i64x2(v, u, 0x88), _mm512_shuffle_i64x2(v, u, 0xDD));
            } else
                all = four_folded(sum[0], sum[1], sum[2], sum[3]);
            left = _mm512_or_si512(left, remainders_of(&t->fold, all));
#pragma GCC unroll 4
            for (size_t i = 0; i < GROUP; i++) {
                const __m512i order = broad_at(e[i]->order), onto = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)e[i]->onto));
                const __m512i v = headed ? _mm512_permutexvar_epi8(order, head[i]) : _mm512_permutex2var_epi8(head[i], order, tail[i]);
                _mm512_storeu_si512(row + i * row_size, _mm512_xor_si512(v, onto));
            }
            write_behind(e, tail, row, row_size);
        }
        if ((uint32_t)other || _mm512_test_epi32_mask(differs, broad_at(a->structure)) || _mm512_mask_test_epi32_mask(0x1111, left, said) ||
            (within && _mm512_cmpgt_epu16_mask(most, broad_at(a->most))) || (beside && !beside_bounded(t, rows)))
            goto shy;
        for (size_t i = 0; i < TILE; i++)
            w->ids[at + i] = told[i].id;
        for (size_t i = 0; other && i < TILE; i++) {           /* once for each: one store more a frame costs a tenth of it */
            ends_t *e = (ends_t *)((uint8_t *)a + told[i].at);
            if (next_size(these, i, of_list) != e->size)       /* of 4 GiB more */
                goto shy;
            ends_used_now(e, t->now);
        }
        memset(w->status + at, VOUCHED, TILE);
        if (t->wary && told[0].at == told[TILE / 2].at && told[0].at == told[TILE - 1].at) /* most likely of one layout */
            more_of_them = --t->wary > 0;
        memcpy(told, told + TILE, GROUP * sizeof *told);
    }
    return at - begin;
shy:                                                           /* this tile, or the next one's first frames, are to be looked at closely */
    t->shies = at > begin ? 1 : t->shies < WARY ? 2 * t->shies + !t->shies : WARY; /* one wrong frame costs one tile, many of them no more than before */
    t->shy = t->shies;
    return at - begin;
}

/* Each by itself: what is the same for all frames stays in registers. */
#define TILES(name, ...) \
    TARGET_TOLD static __attribute__((noinline)) size_t name(table_t *t, walk_t *w, const frames_t *f, size_t begin) { \
        return tiles_of(t, w, f, begin, __VA_ARGS__); \
    }
#define ALL_TILES(name, of_list, words) \
    TILES(name##_any, of_list, words, 0, 0, 0) \
    TILES(name##_brief, of_list, words, 0, 1, 0) \
    TILES(name##_headed, of_list, words, 1, 0, 0) \
    TILES(name##_headed_brief, of_list, words, 1, 1, 0) \
    TILES(name##_cut, of_list, words, 0, 0, 1) \
    TILES(name##_cut_headed_brief, of_list, words, 1, 1, 1)
ALL_TILES(of_buffer, 0, 1)
ALL_TILES(of_buffer_by_two, 0, 2)
ALL_TILES(of_list, 1, 1)
ALL_TILES(of_list_by_two, 1, 2)

static size_t mingled(table_t *t, walk_t *w, const frames_t *f, size_t begin) {
    typedef size_t tiles_t(table_t *, walk_t *, const frames_t *, size_t);
#define EACH(name) {name##_any, name##_brief, name##_headed, name##_headed_brief, name##_cut, name##_cut_headed_brief}
    static tiles_t *const tiles[2][2][6] = {{EACH(of_buffer), EACH(of_buffer_by_two)}, {EACH(of_list), EACH(of_list_by_two)}};
    const all_ends_t *a = t->sorts->ends;
    const int form = a->cut ? 4 + (a->headed && a->brief) : 2 * a->headed + a->brief;
    const size_t taken = f->n - begin < TILE ? 0 : tiles[f->list != NULL][a->words - 1][form](t, w, f, begin);
    t->by_ends += taken;
    return taken;
}
#endif
