/* Frames of one layout that follow each other, where the processor has registers of 64 bytes: what is said of the layout stays in
 * registers, and whether all frames of a tile are as they should be is asked once. If they are not, they are looked at again, as
 * frames of any layouts. A frame is loaded twice, its first 64 bytes and its last: loads across two cache lines are what costs
 * most here, so checks, checksum and row share them. Included by whole.h. */

#if SIMD
enum { WARY = 16 };                                            /* tiles that are not tried after one that was not all right */

TARGET_BROAD INLINE __m512i either(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0xFE);
}

/* Where these frames begin, if they are of this size; 0 if one is not, or is no bytes. */
static inline __attribute__((always_inline)) int places_of(const frames_t *f, size_t at, size_t size, const uint8_t *p[TILE]) {
    for (size_t i = 0; i < TILE; i++) {
        if (f->list) {
            const PyObject *each = f->list[at + i];
            if (Py_TYPE(each) != &PyBytes_Type || (size_t)Py_SIZE(each) != size)
                return 0;
            p[i] = (const uint8_t *)((const PyBytesObject *)each)->ob_sval;
            fetch_ahead(f, at + i, size);
        } else {
            if (f->offsets[at + i + 1] - f->offsets[at + i] != size)
                return 0;
            p[i] = f->data + f->offsets[at + i];
        }
    }
    return 1;
}

/* Whether a tile's rows, which stand side by side, are within bounds. Branches that are not taken cost least here. */
TARGET_BROAD INLINE int tile_bounded(const table_t *t, const uint8_t *rows) {
    if (!t->bounded)
        return 0;
    const size_t row_size = t->row_size;
    __mmask32 right = ~0u;
    for (uint32_t k = 0; k < t->bands; k++) {
        const __m256i low = wide_at(t->band[k].low), high = wide_at(t->band[k].high);
        const uint8_t *row = rows + t->band[k].at;
        for (uint32_t i = 0; i < TILE; i++, row += row_size) {
            const __m256i v = wide_at(row);
            right &= _mm256_cmpeq_epi8_mask(_mm256_max_epu8(_mm256_min_epu8(v, high), low), v);
        }
    }
    for (uint32_t k = 0; k < t->spans; k++) {
        const span_t s = t->span[k];
        const uint8_t *row = rows + s.at;
        if (s.mask == 0xFFFF) {                                /* the usual one: no branch for each */
            const __m128i low = _mm_set1_epi16((short)s.low);
            __m128i most = _mm_setzero_si128();
            for (uint32_t i = 0; i < TILE; i++, row += row_size)
                most = _mm_max_epu16(most, _mm_sub_epi16(_mm_loadl_epi64((const __m128i *)row), low));
            if ((uint16_t)_mm_extract_epi16(most, 0) > s.span)
                return 0;
            continue;
        }
        for (uint32_t i = 0; i < TILE; i++, row += row_size)
            if ((load64(row) & s.mask) - s.low > s.span)
                return 0;
    }
    return right == ~0u;
}

/* Whether each bound is one on two bytes that stand at an even place of this layout's first 64: what each two of them are at most. */
static int most_of(const table_t *t, const glance_t *g, uint16_t most[32]) {
    memset(most, 255, 32 * sizeof *most);
    for (uint32_t i = 0; i < t->spans; i++) {
        const span_t s = t->span[i];
        const uint32_t place = g->size - 128u + g->order[s.at], next = g->size - 128u + g->order[s.at + 1]; /* before the first one: none */
        if (s.mask != 0xFFFF || s.low || place > 62 || place % 2 || next != place + 1)
            return 0;
        if (s.span < most[place / 2])
            most[place / 2] = (uint16_t)s.span;
    }
    return t->bounded && !t->bands;
}

/* No arrays: they would be kept in memory, too. */
typedef struct { __m512i a, b, c, d; } four_t;
typedef struct { __m512i order; __mmask64 some; uint32_t to, few; enum { HEAD, TAIL, BOTH } of; } line_t;

TARGET_BROAD INLINE four_t four_at(const uint8_t *const p[4], size_t at) {
    return (four_t){broad_at(p[0] + at), broad_at(p[1] + at), broad_at(p[2] + at), broad_at(p[3] + at)};
}

/* Where any of these is not as it should be, too. */
TARGET_BROAD INLINE __m512i four_differ(__m512i before, four_t v, __m512i value) {
    return either(before, _mm512_ternarylogic_epi64(v.a, v.b, value, 0x7E), _mm512_ternarylogic_epi64(v.c, v.d, value, 0x7E));
}

/* What 64 bytes of the beginning and some of the end add up to: the same steps as residues_of. */
TARGET_BROAD INLINE __m512i sum_of_ends(__m512i v, __m512i by_head, __m512i reversed, __m512i w, __mmask64 rest, __m512i by, __m512i turn) {
    v = _mm512_shuffle_epi8(v, reversed), w = _mm512_shuffle_epi8(_mm512_maskz_mov_epi8(rest, w), turn);
    const __m512i a = _mm512_xor_si512(_mm512_clmulepi64_epi128(v, by_head, 0x11), _mm512_clmulepi64_epi128(v, by_head, 0x00));
    return _mm512_ternarylogic_epi64(a, _mm512_clmulepi64_epi128(w, by, 0x11), _mm512_clmulepi64_epi128(w, by, 0x00), 0x96);
}

/* Where the `k`th 64 bytes of a row, or the 16 that are left, come from. */
TARGET_BROAD INLINE line_t line_of(const glance_t *g, uint32_t row_size, uint32_t k) {
    if (64 * k >= row_size)
        return (line_t){_mm512_setzero_si512(), 0, 0, 0, HEAD};
    const int few = row_size == 64 * k + 16;
    const uint32_t to = few ? 64 * k : glance_row_at(row_size, k);
    const __m512i first_of_tail = _mm512_set1_epi8((char)(g->size - 64));
    const __m512i place = _mm512_add_epi8(broad_at(g->order + to), _mm512_set1_epi8((char)(g->size - 128)));
    const __mmask64 some = _mm512_cmplt_epu8_mask(place, _mm512_set1_epi8((char)g->size));
    const __mmask64 behind = some & _mm512_cmpge_epu8_mask(place, _mm512_set1_epi8(64)), before = some & _mm512_cmplt_epu8_mask(place, first_of_tail);
    const __m512i of_tail = _mm512_sub_epi8(place, first_of_tail);
    if (!behind)
        return (line_t){place, some, to, few, HEAD};
    if (!before)
        return (line_t){of_tail, some, to, few, TAIL};
    return (line_t){_mm512_mask_add_epi8(place, behind, of_tail, _mm512_set1_epi8(64)), some, to, few, BOTH};
}

TARGET_BROAD INLINE void write_line(uint8_t *to, __m512i v, int few) {
    if (few)
        _mm_storeu_si128((__m128i *)to, _mm512_castsi512_si128(v));
    else
        _mm512_storeu_si512(to, v);
}

TARGET_BROAD INLINE four_t four_moved(line_t line, four_t v) {
    return (four_t){_mm512_maskz_permutexvar_epi8(line.some, line.order, v.a), _mm512_maskz_permutexvar_epi8(line.some, line.order, v.b),
                    _mm512_maskz_permutexvar_epi8(line.some, line.order, v.c), _mm512_maskz_permutexvar_epi8(line.some, line.order, v.d)};
}

TARGET_BROAD INLINE void write_lines(line_t line, four_t head, four_t tail, uint8_t *row, size_t row_size, __m512i present) {
    four_t v;
    if (line.of == HEAD)
        v = four_moved(line, head);
    else if (line.of == TAIL)
        v = four_moved(line, tail);
    else
        v = (four_t){_mm512_maskz_permutex2var_epi8(line.some, head.a, line.order, tail.a), _mm512_maskz_permutex2var_epi8(line.some, head.b, line.order, tail.b),
                     _mm512_maskz_permutex2var_epi8(line.some, head.c, line.order, tail.c), _mm512_maskz_permutex2var_epi8(line.some, head.d, line.order, tail.d)};
    row += line.to;
    write_line(row, _mm512_or_si512(v.a, present), (int)line.few), write_line(row + row_size, _mm512_or_si512(v.b, present), (int)line.few);
    row += 2 * row_size;
    write_line(row, _mm512_or_si512(v.c, present), (int)line.few), write_line(row + row_size, _mm512_or_si512(v.d, present), (int)line.few);
}

/* The next frames, as far as whole tiles of them are of this layout and right: how many. */
TARGET_BROAD static __attribute__((noinline)) size_t alike(const table_t *t, walk_t *w, const frames_t *f, size_t at, const glance_t *g) {
    const size_t row_size = t->row_size, size = g->size, begin = at, behind = size - 64;
    const rest_t *rest = ((const plan_t *)(g + 1))->rest;
    const int shift = 32 - t->crc.width;
    const __m512i zero = _mm512_setzero_si512(), present = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)g->present));
    const __m512i residue = _mm512_set1_epi32((int)(g->residue << shift)), said = _mm512_set1_epi32((int)(~0u << shift));
    const __m512i reversed = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const line_t one = line_of(g, (uint32_t)row_size, 0), two = line_of(g, (uint32_t)row_size, 1), three = line_of(g, (uint32_t)row_size, 2), four = line_of(g, (uint32_t)row_size, 3);
    const __m512i by_head = broad_at(g->by_head), by = broad_at(t->residues.by[0]), turn = broad_at(t->residues.turn);
    const __m512i head_value = broad_at(rest->part), tail_value = broad_at(rest->part + behind);
    uint16_t at_most[32];
    const int within = t->guards && most_of(t, g, at_most), beside = t->guards && !within;
    const __mmask64 unsummed = ~0ull << (128 - size);          /* of the last 64 bytes those that are not among the first */
    for (; f->n - at >= TILE; at += TILE) {
        const uint8_t *places[TILE];
        uint8_t *const rows = w->rows + at * row_size, *row = rows;
        if (!places_of(f, at, size, places))
            break;
        __m512i left = zero, head_differs = zero, tail_differs = zero, most = zero;
        for (const uint8_t *const *p = places; p < places + TILE; p += 4, row += 4 * row_size) {
            const four_t head = four_at(p, 0), tail = four_at(p, behind);
            head_differs = four_differ(head_differs, head, head_value), tail_differs = four_differ(tail_differs, tail, tail_value);
            most = _mm512_max_epu16(_mm512_max_epu16(_mm512_max_epu16(most, head.a), _mm512_max_epu16(head.b, head.c)), head.d);
            const __m512i sum = four_folded(sum_of_ends(head.a, by_head, reversed, tail.a, unsummed, by, turn), sum_of_ends(head.b, by_head, reversed, tail.b, unsummed, by, turn),
                                            sum_of_ends(head.c, by_head, reversed, tail.c, unsummed, by, turn), sum_of_ends(head.d, by_head, reversed, tail.d, unsummed, by, turn));
            left = _mm512_or_si512(left, _mm512_xor_si512(remainders_of(&t->fold, sum), residue));
            write_lines(one, head, tail, row, row_size, present);
            write_lines(two, head, tail, row, row_size, zero);
            if (row_size > 128)
                write_lines(three, head, tail, row, row_size, zero);
            if (row_size > 192)
                write_lines(four, head, tail, row, row_size, zero);
        }
        const __m512i differs = _mm512_or_si512(_mm512_and_si512(head_differs, broad_at(rest->mask)), _mm512_and_si512(tail_differs, broad_at(rest->mask + behind)));
        if (_mm512_test_epi32_mask(differs, differs) || _mm512_mask_test_epi32_mask(0x1111, left, said) ||
            (within && _mm512_cmpgt_epu16_mask(most, broad_at(at_most))) || (beside && !tile_bounded(t, rows)))
            break;
        _mm512_storeu_si512(w->ids + at, _mm512_set1_epi32(g->id)), _mm512_storeu_si512(w->ids + at + 16, _mm512_set1_epi32(g->id));
        memset(w->status + at, VOUCHED, TILE);
    }
    return at - begin;
}
#endif
