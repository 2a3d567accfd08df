/* Checksums with 32-byte registers: two frames beside each other, or one long one in steps of 128 bytes. */
#ifndef TELELOOP_FOLD_H
#define TELELOOP_FOLD_H

#include "crc.h"

typedef struct { /* powers of x that move a block on by 16 bytes, and by 128; all as pairs for two halves of a register */
    uint64_t by[4], by4[4], rest[4], quotient[4], init[4];
} fold_t;

/* Reflected CRCs fold the message's bytes as they are: the half that is worth more is then the lower one, and the product of two
 * reflected numbers is one power of x too high. */
static void fold_declare(fold_t *f, const crc_t *c) {
    static const int of[4] = {128, 192, 1024, 1088};
    const uint64_t reflected = c->width ? reversed_bits(c->init, c->width) : 0, plain = c->width ? (uint64_t)c->init << (64 - c->width) : 0;
    for (int i = 0; i < 4; i++) {
        const int k = i & 1;
        uint32_t one = (uint32_t)x_to(of[k] - (c->reflected ? 1 : 0), c->top), eight = (uint32_t)x_to(of[2 + k] - (c->reflected ? 1 : 0), c->top);
        f->by[c->reflected ? i ^ 1 : i] = c->reflected ? (uint64_t)reversed_bits(one, 32) << 32 : one;
        f->by4[c->reflected ? i ^ 1 : i] = c->reflected ? (uint64_t)reversed_bits(eight, 32) << 32 : eight;
        f->rest[i] = k ? c->x64 : c->x96;
        f->quotient[i] = k ? 1ull << 32 | c->top : c->barrett;
        f->init[i] = c->reflected ? (k ? 0 : reflected) : (k ? plain : 0);
    }
}

#if SIMD
#define TARGET_VAST __attribute__((target("avx2,sse4.1,ssse3,pclmul,vpclmulqdq")))
#define INLINE static inline __attribute__((always_inline))

/* At 16 + k: takes 16 bytes from the kth on; at 16 - k: from k before the first on; zeros where there are none. */
static const uint8_t SLIDE[48] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
                                  0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,  14,  15,
                                  128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128};

TARGET_CLMUL INLINE __m128i slid(__m128i v, int by) {
    return _mm_shuffle_epi8(v, _mm_loadu_si128((const __m128i *)(SLIDE + 16 + by)));
}

TARGET_CLMUL INLINE __m128i mirrored(__m128i v) { /* the order of all 128 bits */
    const __m128i low = _mm_set1_epi8(15);
    const __m128i up = _mm_setr_epi8(0, -128, 64, -64, 32, -96, 96, -32, 16, -112, 80, -48, 48, -80, 112, -16);
    const __m128i down = _mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
    v = _mm_or_si128(_mm_shuffle_epi8(up, _mm_and_si128(v, low)),
                     _mm_shuffle_epi8(down, _mm_and_si128(_mm_srli_epi16(v, 4), low)));
    return _mm_shuffle_epi8(v, _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
}

TARGET_CLMUL INLINE __m128i native(const uint8_t *p, int reflected) {
    return reflected ? _mm_loadu_si128((const __m128i *)p) : block(p, 0);
}

TARGET_VAST INLINE __m256i two(__m128i a, __m128i b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

TARGET_VAST INLINE __m256i turned(__m256i v, int reflected) {
    return reflected ? v : _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)));
}

INLINE uint32_t bits_reversed(uint32_t r, int width) {
    r = (r & 0x55555555) << 1 | (r >> 1 & 0x55555555);
    r = (r & 0x33333333) << 2 | (r >> 2 & 0x33333333);
    r = (r & 0x0F0F0F0F) << 4 | (r >> 4 & 0x0F0F0F0F);
    return __builtin_bswap32(r) >> (32 - width);
}

TARGET_CLMUL INLINE __m128i one_of(const uint64_t *constants) {
    return _mm_loadu_si128((const __m128i *)constants);
}

TARGET_VAST INLINE __m256i pair_of(const uint64_t *constants) {
    return _mm256_loadu_si256((const __m256i *)constants);
}

TARGET_VAST INLINE __m256i fold_two(__m256i v, __m256i by, __m256i onto) {
    return _mm256_xor_si256(_mm256_xor_si256(_mm256_clmulepi64_epi128(v, by, 0x11), _mm256_clmulepi64_epi128(v, by, 0x00)), onto);
}

/* What a frame begins with: its first 1 to 16 bytes, so that whole blocks are left, and what of the initial value lies behind. */
TARGET_CLMUL INLINE __m128i begun(const uint8_t *p, int head, __m128i init, int reflected, __m128i *behind) {
    *behind = slid(init, reflected ? head : -head);
    return slid(_mm_xor_si128(native(p, reflected), init), reflected ? head - 16 : 16 - head);
}

/* Both halves' remainders, as crc_folded takes one; they stand in words 0 and 4, shifted to the top. */
TARGET_VAST INLINE __m256i remainders(const fold_t *f, __m256i v, int reflected) {
    if (reflected)
        v = two(mirrored(_mm256_castsi256_si128(v)), mirrored(_mm256_extracti128_si256(v, 1)));
    const __m256i low = _mm256_set_epi64x(0, -1, 0, -1), k = pair_of(f->rest), m = pair_of(f->quotient);
    __m256i w = _mm256_xor_si256(_mm256_clmulepi64_epi128(v, k, 0x01), _mm256_slli_si256(_mm256_and_si256(v, low), 4));
    w = _mm256_xor_si256(_mm256_clmulepi64_epi128(w, k, 0x11), _mm256_and_si256(w, low));
    __m256i q = _mm256_clmulepi64_epi128(_mm256_srli_epi64(w, 32), m, 0x00);
    return _mm256_xor_si256(w, _mm256_clmulepi64_epi128(_mm256_srli_epi64(q, 32), m, 0x10));
}

INLINE uint32_t finished(const crc_t *c, uint32_t r, int reflected) {
    r >>= 32 - c->width;
    return (reflected ? bits_reversed(r, c->width) : r) ^ c->xorout;
}

/* Two messages of at least 16 bytes each, side by side: where the blocks that are left begin, and what was folded before them. */
typedef struct { __m256i v, behind; const uint8_t *p, *q; size_t left; } pair_t;

TARGET_VAST INLINE pair_t paired(const fold_t *f, const uint8_t *p, size_t n, const uint8_t *q, size_t m, int reflected) {
    const __m128i init = one_of(f->init), by = one_of(f->by);
    size_t left = (n - 1) / 16, others = (m - 1) / 16;
    __m128i behind_p, behind_q;
    __m128i a = begun(p, (int)(n - 16 * left), init, reflected, &behind_p), b = begun(q, (int)(m - 16 * others), init, reflected, &behind_q);
    p += n - 16 * left, q += m - 16 * others;
    for (; left > others; left--, p += 16)
        a = fold(a, by, _mm_xor_si128(native(p, reflected), behind_p)), behind_p = _mm_setzero_si128();
    for (; others > left; others--, q += 16)
        b = fold(b, by, _mm_xor_si128(native(q, reflected), behind_q)), behind_q = _mm_setzero_si128();
    return (pair_t){two(a, b), two(behind_p, behind_q), p, q, left};
}

TARGET_VAST INLINE void folded(pair_t *s, __m256i by, int reflected) {
    __m256i next = turned(two(_mm_loadu_si128((const __m128i *)s->p), _mm_loadu_si128((const __m128i *)s->q)), reflected);
    s->v = fold_two(s->v, by, _mm256_xor_si256(next, s->behind));
    s->behind = _mm256_setzero_si256();
    s->p += 16, s->q += 16, s->left--;
}

/* The CRCs of four messages of at least 16 bytes each. */
TARGET_VAST INLINE void crc_four(const crc_t *c, const fold_t *f, const uint8_t *const p[4], const size_t n[4], int reflected, uint32_t sums[4]) {
    const __m256i by = pair_of(f->by);
    pair_t s = paired(f, p[0], n[0], p[1], n[1], reflected), u = paired(f, p[2], n[2], p[3], n[3], reflected);
    while (s.left && u.left)
        folded(&s, by, reflected), folded(&u, by, reflected);
    while (s.left)
        folded(&s, by, reflected);
    while (u.left)
        folded(&u, by, reflected);
    const __m256i a = remainders(f, s.v, reflected), b = remainders(f, u.v, reflected);
    sums[0] = finished(c, (uint32_t)_mm256_extract_epi32(a, 0), reflected), sums[1] = finished(c, (uint32_t)_mm256_extract_epi32(a, 4), reflected);
    sums[2] = finished(c, (uint32_t)_mm256_extract_epi32(b, 0), reflected), sums[3] = finished(c, (uint32_t)_mm256_extract_epi32(b, 4), reflected);
}

/* The same for messages of one length. */
TARGET_VAST INLINE void crc_alike(const crc_t *c, const fold_t *f, const uint8_t *const p[4], size_t n, int reflected, uint32_t sums[4]) {
    const __m256i by = pair_of(f->by), init = pair_of(f->init);
    const size_t left = (n - 1) / 16;
    const int head = (int)(n - 16 * left);
    const uint8_t *slide = SLIDE + 16 + (reflected ? head - 16 : 16 - head), *begin = SLIDE + 16 + (reflected ? head : -head);
    const __m256i into = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)slide));
    __m256i behind = _mm256_shuffle_epi8(init, _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)begin)));
    __m256i v = turned(two(_mm_loadu_si128((const __m128i *)p[0]), _mm_loadu_si128((const __m128i *)p[1])), reflected);
    __m256i w = turned(two(_mm_loadu_si128((const __m128i *)p[2]), _mm_loadu_si128((const __m128i *)p[3])), reflected);
    v = _mm256_shuffle_epi8(_mm256_xor_si256(v, init), into), w = _mm256_shuffle_epi8(_mm256_xor_si256(w, init), into);
    for (size_t at = (size_t)head; at < n; at += 16) {
        __m256i x = turned(two(_mm_loadu_si128((const __m128i *)(p[0] + at)), _mm_loadu_si128((const __m128i *)(p[1] + at))), reflected);
        __m256i y = turned(two(_mm_loadu_si128((const __m128i *)(p[2] + at)), _mm_loadu_si128((const __m128i *)(p[3] + at))), reflected);
        v = fold_two(v, by, _mm256_xor_si256(x, behind)), w = fold_two(w, by, _mm256_xor_si256(y, behind));
        behind = _mm256_setzero_si256();
    }
    const __m256i a = remainders(f, v, reflected), b = remainders(f, w, reflected);
    sums[0] = finished(c, (uint32_t)_mm256_extract_epi32(a, 0), reflected), sums[1] = finished(c, (uint32_t)_mm256_extract_epi32(a, 4), reflected);
    sums[2] = finished(c, (uint32_t)_mm256_extract_epi32(b, 0), reflected), sums[3] = finished(c, (uint32_t)_mm256_extract_epi32(b, 4), reflected);
}

/* The CRC of one message of at least 16 bytes. */
TARGET_VAST INLINE uint32_t crc_long(const crc_t *c, const fold_t *f, const uint8_t *p, size_t n, int reflected) {
    const __m128i by = one_of(f->by);
    size_t left = (n - 1) / 16;
    __m128i behind, v = begun(p, (int)(n - 16 * left), one_of(f->init), reflected, &behind);
    p += n - 16 * left;
    if (left) {
        v = fold(v, by, _mm_xor_si128(native(p, reflected), behind));
        p += 16, left--;
    }
    if (left >= 15) {
        const __m256i by4 = pair_of(f->by4);
        const __m256i *at = (const __m256i *)(p - 16);
        __m256i s = two(v, native(p, reflected)), u = turned(_mm256_loadu_si256(at + 1), reflected);
        __m256i w = turned(_mm256_loadu_si256(at + 2), reflected), x = turned(_mm256_loadu_si256(at + 3), reflected);
        for (p += 112, left -= 7; left >= 8; left -= 8, p += 128) {
            at = (const __m256i *)p;
            s = fold_two(s, by4, turned(_mm256_loadu_si256(at), reflected)), u = fold_two(u, by4, turned(_mm256_loadu_si256(at + 1), reflected));
            w = fold_two(w, by4, turned(_mm256_loadu_si256(at + 2), reflected)), x = fold_two(x, by4, turned(_mm256_loadu_si256(at + 3), reflected));
        }
        const __m256i each[4] = {s, u, w, x};
        v = fold(_mm256_castsi256_si128(s), by, _mm256_extracti128_si256(s, 1));
        for (int i = 1; i < 4; i++)
            v = fold(fold(v, by, _mm256_castsi256_si128(each[i])), by, _mm256_extracti128_si256(each[i], 1));
    }
    for (; left; left--, p += 16)
        v = fold(v, by, native(p, reflected));
    return finished(c, (uint32_t)_mm256_extract_epi32(remainders(f, two(v, v), reflected), 0), reflected);
}

TARGET_WIDE INLINE uint8_t xor_wide(const uint8_t *p, size_t n) {
    if (n < 16)
        return xor_of(p, n);
    __m128i v = slid(_mm_loadu_si128((const __m128i *)p), (int)((n - 1) % 16) - 15); /* the first 1 to 16 bytes */
    size_t head = (n - 1) % 16 + 1;
    p += head, n -= head;
    if (n & 16)
        v = _mm_xor_si128(v, _mm_loadu_si128((const __m128i *)p)), p += 16;
    __m256i w = _mm256_inserti128_si256(_mm256_setzero_si256(), v, 0);
    for (n /= 32; n; n--, p += 32)
        w = _mm256_xor_si256(w, _mm256_loadu_si256((const __m256i *)p));
    v = _mm_xor_si128(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    uint64_t u = (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(v, _mm_srli_si128(v, 8)));
    u ^= u >> 32, u ^= u >> 16, u ^= u >> 8;
    return (uint8_t)u;
}

/* The XORs of all bytes of four messages of n bytes each, at least 16. */
TARGET_WIDE INLINE void xors_of_four(const uint8_t *const p[4], size_t n, uint64_t sums[4]) {
    const size_t head = (n - 1) % 16 + 1;
    const __m128i first = _mm_cmplt_epi8(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm_set1_epi8((char)head));
    __m128i folded[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const uint8_t *at = p[k] + head, *end = p[k] + n;
        __m128i v = _mm_and_si128(_mm_loadu_si128((const __m128i *)p[k]), first);
        if ((n - head) & 16)
            v = _mm_xor_si128(v, _mm_loadu_si128((const __m128i *)at)), at += 16;
        __m256i w = _mm256_inserti128_si256(_mm256_setzero_si256(), v, 0);
        for (; at < end; at += 32)
            w = _mm256_xor_si256(w, _mm256_loadu_si256((const __m256i *)at));
        folded[k] = _mm_xor_si128(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    }
    const __m128i a = _mm_xor_si128(_mm_unpacklo_epi64(folded[0], folded[1]), _mm_unpackhi_epi64(folded[0], folded[1]));
    const __m128i b = _mm_xor_si128(_mm_unpacklo_epi64(folded[2], folded[3]), _mm_unpackhi_epi64(folded[2], folded[3]));
    __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    v = _mm256_xor_si256(v, _mm256_srli_epi64(v, 32));
    v = _mm256_xor_si256(v, _mm256_srli_epi64(v, 16));
    v = _mm256_xor_si256(v, _mm256_srli_epi64(v, 8));
    _mm256_storeu_si256((__m256i *)sums, _mm256_and_si256(v, _mm256_set1_epi64x(255)));
}
#endif

#endif
