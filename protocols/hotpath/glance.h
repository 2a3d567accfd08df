/* What a plan says of a part that is held in registers of 64 bytes, all of it at once: what it must be, its checksum, its row.
 *
 * A part is read so that its last byte is the last one of the last register, whatever its size; what is before its first byte is
 * masked out, and neither read nor other than zero. So parts of all sizes take the same steps, and those of other layouts differ in
 * nothing but what is loaded. */
#ifndef TELELOOP_GLANCE_H
#define TELELOOP_GLANCE_H

enum { DEEP = 4, LONGEST = 64 * DEEP - 1 };                    /* there is always a byte before the first one, which is zero */

typedef struct {                                               /* registers count from the last one */
    uint64_t used;
    uint16_t size, id;                                         /* a size of 0: the part is too long, or its checksum no such one */
    uint32_t residue;                                          /* of a right frame with its checksum, begun with zeros */
    uint64_t read[DEEP], must[DEEP];                           /* which bytes of each register are the part's, and its structure */
    uint8_t present[16], unused[32];
    uint8_t order[256];                                        /* of each byte of a row: bit 7 says in which two registers, the others where */
    uint8_t value[DEEP][64];
    uint64_t by_head[8];                                       /* powers of x for the first 64 bytes, where there is a CRC */
} glance_t;

_Static_assert(sizeof(glance_t) == 11 * 64, "a glance ends with a cache line");

typedef struct {                                               /* powers of x for each 16 bytes of each register, by how far from the end */
    uint64_t by[DEEP][8];
    uint8_t turn[64];                                          /* the last register's bytes, so that the checksum is as if big-endian */
} residues_t;

/* Whether frames' checksums can be reckoned so: they end the frame, and say nothing in their bytes' mirror image. */
static int glances_at(const framing_t *f, const crc_t *c) {
    if (f->parts || f->sum_kind == SUM_NONE)
        return 1;
    if (f->sum_trail != f->sum_width || f->sum_at != f->sum_width)
        return 0;
    return f->sum_kind == SUM_XOR ? f->sum_width == 1 : !f->crc_reflected && c->width == 8 * f->sum_width && f->crc_poly & 1;
}

/* Powers of x for the 16-byte blocks of 64 bytes, behind which there are `behind` more. */
static void powers_of(uint64_t by[8], int behind, const crc_t *c) {
    for (int i = 0; i < 8; i++)                                /* lane 3 is the last one; of each the lower half is behind the other */
        by[i] = x_to(128 * (3 - i / 2) + 32 + 64 * (i & 1) + 8 * behind, c->top);
}

static void residues_declare(residues_t *r, const framing_t *f, const crc_t *c) {
    const int width = (int)f->sum_width;
    for (int k = 0; k < DEEP; k++)
        powers_of(r->by[k], 64 * k, c);
    for (int i = 0; i < 64; i++)
        r->turn[i] = (uint8_t)(15 - i % 16);
    for (int i = 0; i < width && !f->sum_big; i++)
        r->turn[48 + i] = (uint8_t)(16 - width + i);
}

/* What is left of any right frame whose bytes before the checksum's first are these; they are the same in all of the plan. */
static uint32_t residue_of(const framing_t *f, const crc_t *c, const uint8_t *part, size_t size) {
    uint8_t frame[LONGEST] = {0};
    const size_t from = (size_t)f->sum_from, width = (size_t)f->sum_width;
    memcpy(frame, part, from);
    if (f->sum_kind == SUM_XOR)
        return xor_of(frame, from);
    put_number(frame + size - width, crc_tables(c, frame + from, size - from - width), f->sum_width, 1);
    crc_t zeros = *c;
    zeros.init = zeros.xorout = 0;
    return crc_tables(&zeros, frame, size);
}

static inline glance_t *glance_of(const plan_t *plan) {        /* it stands before its plan */
    return (glance_t *)plan - 1;
}

static inline uint32_t glance_row_at(uint32_t row_size, uint32_t k) { /* the last 64 bytes reach back over those before */
    return 64 * k + 64 > row_size ? row_size - 64 : 64 * k;
}

/* Where the byte at `from` of a part stands, as a row's order says it. */
static inline uint8_t glanced_at(uint32_t size, uint32_t from) {
    const uint32_t back = size - from;                         /* 1: the last one */
    return back <= 128 ? (uint8_t)(128 - back) : (uint8_t)(128 | (256 - back));
}

static void glance_declare(glance_t *g, uint32_t present_size, const framing_t *f, const crc_t *c, const plan_t *plan,
                           const move_t *m, size_t moves, const uint8_t *constant) {
    const uint32_t size = plan->size;
    const uint8_t *part = plan->rest->part, *mask = plan->rest->mask;
    const size_t from = f->parts || f->sum_kind == SUM_NONE ? 0 : (size_t)f->sum_from;
    for (size_t i = 0; i < from; i++)
        if (mask[i] != 255)
            return;
    for (size_t i = 0; i < size; i++)
        if (mask[i] && mask[i] != 255)
            return;
    if (size > LONGEST)
        return;
    memset(g->order, size < 128 ? 0 : size < 192 ? 128 | 64 : 128, sizeof g->order); /* the zero before the first byte */
    for (size_t i = 0; i < moves; i++)
        for (uint32_t k = 0; k < 16; k++)
            if (!(m[i].order[k] & 0x80))
                g->order[m[i].to + k] = glanced_at(size, m[i].from + m[i].order[k]);
    memcpy(g->present, constant, present_size);
    for (uint32_t k = 0; k < DEEP; k++)
        for (uint32_t i = 0; i < 64; i++) {
            const uint32_t back = 64 * k + 64 - i;
            if (back <= size)
                g->read[k] |= 1ull << i, g->must[k] |= (uint64_t)(mask[size - back] != 0) << i, g->value[k][i] = part[size - back];
        }
    g->size = (uint16_t)size, g->id = plan->id;
    if (!f->parts && f->sum_kind == SUM_CRC && size >= 64 && size < 128)
        powers_of(g->by_head, (int)size - 64, c);
    g->residue = f->parts || f->sum_kind == SUM_NONE ? 0 : residue_of(f, c, part, size);
}

/* Whether a layout's frames are their first 64 bytes and their last, and the sum is behind the first. */
static inline int is_of_ends(const glance_t *g) {
    return g->size >= 64 + sizeof(uint32_t) && g->size < 128;
}

#if SIMD
#define TARGET_BROAD __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,vpclmulqdq,avx2,sse4.1,ssse3,pclmul")))

/* Of no layout: nothing is read, and nothing fits. */
static const glance_t NO_GLANCE __attribute__((aligned(64))) = {.must = {1}, .value = {{1}}};

TARGET_BROAD INLINE __m512i broad_at(const void *p) {
    return _mm512_loadu_si512(p);
}

/* The `k`th register from the end of a part that ends at `end`. */
TARGET_BROAD INLINE __m512i glanced(const glance_t *g, const uint8_t *end, int k) {
    return _mm512_maskz_loadu_epi8(g->read[k], (const void *)((uintptr_t)end - 64 * (uintptr_t)(k + 1)));
}

/* The sums of four registers' 16 bytes each, in order. */
TARGET_BROAD INLINE __m512i four_folded(__m512i v, __m512i w, __m512i x, __m512i y) {
    const __m512i a = _mm512_xor_si512(_mm512_shuffle_i64x2(v, w, 0x44), _mm512_shuffle_i64x2(v, w, 0xEE));
    const __m512i b = _mm512_xor_si512(_mm512_shuffle_i64x2(x, y, 0x44), _mm512_shuffle_i64x2(x, y, 0xEE));
    return _mm512_xor_si512(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
}

/* What is left of each 16 bytes, in their first word, shifted to its top. */
TARGET_BROAD INLINE __m512i remainders_of(const fold_t *f, __m512i v) {
    const __m512i low = _mm512_maskz_set1_epi64(0x55, -1), rest = _mm512_broadcast_i32x4(one_of(f->rest)), m = _mm512_broadcast_i32x4(one_of(f->quotient));
    const __m512i w = _mm512_xor_si512(_mm512_clmulepi64_epi128(v, rest, 0x11), _mm512_and_si512(v, low));
    const __m512i q = _mm512_clmulepi64_epi128(_mm512_srli_epi64(w, 32), m, 0x00);
    return _mm512_xor_si512(w, _mm512_clmulepi64_epi128(_mm512_srli_epi64(q, 32), m, 0x10));
}

TARGET_BROAD INLINE __m512i xors_of(__m512i w) {
    w = _mm512_xor_si512(w, _mm512_bsrli_epi128(w, 8));
    w = _mm512_xor_si512(w, _mm512_srli_epi64(w, 32));
    w = _mm512_xor_si512(w, _mm512_srli_epi64(w, 16));
    w = _mm512_xor_si512(w, _mm512_srli_epi64(w, 8));
    return _mm512_and_si512(w, _mm512_set1_epi64(255));
}

TARGET_BROAD INLINE void words_of(__m512i v, uint32_t to[4]) {
    _mm_storeu_si128((__m128i *)to, _mm512_castsi512_si128(_mm512_maskz_compress_epi32(0x1111, v)));
}

/* Of four frames what is left of them, to be compared with the plans' residues. */
TARGET_BROAD INLINE void residues_of(const residues_t *r, const fold_t *f, const __m512i v[DEEP][4], int deep, uint32_t left[4]) {
    const __m512i reversed = _mm512_broadcast_i32x4(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    __m512i sum[4];
    for (int k = 0; k < deep; k++) {
        const __m512i by = broad_at(r->by[k]), turn = k ? reversed : broad_at(r->turn);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512i w = _mm512_shuffle_epi8(v[k][i], turn);
            const __m512i a = _mm512_clmulepi64_epi128(w, by, 0x11), b = _mm512_clmulepi64_epi128(w, by, 0x00);
            sum[i] = k ? _mm512_ternarylogic_epi64(sum[i], a, b, 0x96) : _mm512_xor_si512(a, b);
        }
    }
    words_of(remainders_of(f, four_folded(sum[0], sum[1], sum[2], sum[3])), left);
}

TARGET_BROAD INLINE void xors_left(const __m512i v[DEEP][4], int deep, uint32_t left[4]) {
    __m512i sum[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        sum[i] = v[0][i];
        for (int k = 1; k < deep; k++)
            sum[i] = _mm512_xor_si512(sum[i], v[k][i]);
    }
    words_of(xors_of(four_folded(sum[0], sum[1], sum[2], sum[3])), left);
}

/* Four parts of any layouts: their rows, and a bit for each that is not as its plan says, or whose checksum does not hold. The rows
 * of these are made, too, and mean nothing. `deep`: registers that the longest one takes. */
TARGET_BROAD INLINE uint32_t four_glanced(const residues_t *r, const fold_t *f, int sum_kind, int shift, uint32_t row_size, const glance_t *const g[4],
                                          const uint8_t *const end[4], uint8_t *const row[4], int deep) {
    __m512i v[DEEP][4];
    __mmask64 wrong[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
#pragma GCC unroll 4
        for (int k = 0; k < deep; k++) {
            v[k][i] = glanced(g[i], end[i], k);
            const __mmask64 differs = _mm512_mask_cmpneq_epu8_mask(g[i]->must[k], v[k][i], broad_at(g[i]->value[k]));
            wrong[i] = k ? _kor_mask64(wrong[i], differs) : differs;
        }
    }
    uint32_t bad = 0, left[4];
    if (__builtin_expect(!_kortestz_mask64_u8(_kor_mask64(wrong[0], wrong[1]), _kor_mask64(wrong[2], wrong[3])), 0))
        for (int i = 0; i < 4; i++)
            bad |= (uint32_t)(wrong[i] != 0) << i;
    if (sum_kind != SUM_NONE) {
        if (sum_kind == SUM_CRC)
            residues_of(r, f, v, deep, left);
        else
            xors_left(v, deep, left);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            bad |= (uint32_t)(left[i] >> shift != g[i]->residue) << i;
    }
    for (uint32_t k = 0; 64 * k < row_size; k++) {
        const uint32_t at = glance_row_at(row_size, k);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m512i order = broad_at(g[i]->order + at);
            __m512i w = _mm512_permutex2var_epi8(v[1][i], order, v[0][i]);
            if (deep == 3)
                w = _mm512_mask_permutexvar_epi8(w, _mm512_movepi8_mask(order), order, v[2][i]);
            if (deep == 4)
                w = _mm512_mask_mov_epi8(w, _mm512_movepi8_mask(order), _mm512_permutex2var_epi8(v[3][i], order, v[2][i]));
            if (!k)
                w = _mm512_or_si512(w, _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)g[i]->present)));
            _mm512_storeu_si512(row[i] + at, w);
        }
    }
    return bad;
}
#endif

#endif
