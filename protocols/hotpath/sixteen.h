/* SHA-256's compression function (FIPS 180-4) for sixteen blocks beside each other, each in a lane of its own of the processor's
 * 512-bit registers. Used only after it agreed with OpenSSL's. */
#ifndef TELELOOP_SIXTEEN_H
#define TELELOOP_SIXTEEN_H

#include "sha.h"

#if SIMD
#define SIXTEEN 16
#define TARGET_SIXTEEN __attribute__((target("avx512f,avx512bw")))
#define EACH_LANE TARGET_SIXTEEN static inline __attribute__((always_inline))

static int has_sixteen(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

enum { XOR_OF_THREE = 0x96, CHOICE = 0xCA, MAJORITY = 0xE8 };          /* as tables of three bits */

EACH_LANE __m512i xor_of_three(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi32(a, b, c, XOR_OF_THREE);
}

/* Word t of sixteen blocks, whose big-endian words 0 to 15 are given. */
EACH_LANE void next_words(__m512i words[16], int t) {
    const __m512i w1 = words[(t + 1) & 15], w14 = words[(t + 14) & 15];
    const __m512i small = xor_of_three(_mm512_ror_epi32(w1, 7), _mm512_ror_epi32(w1, 18), _mm512_srli_epi32(w1, 3));
    const __m512i great = xor_of_three(_mm512_ror_epi32(w14, 17), _mm512_ror_epi32(w14, 19), _mm512_srli_epi32(w14, 10));
    const __m512i known = _mm512_add_epi32(words[t & 15], words[(t + 9) & 15]);
    words[t & 15] = _mm512_add_epi32(known, _mm512_add_epi32(small, great));
}

TARGET_SIXTEEN static void transform_sixteen(__m512i state[8], __m512i words[16]) {
    __m512i s[8];
    for (int i = 0; i < 8; i++)
        s[i] = state[i];
#pragma GCC unroll 64
    for (int t = 0; t < 64; t++) {                             /* a to h take each other's places */
        const __m512i a = s[(64 - t) & 7], b = s[(65 - t) & 7], c = s[(66 - t) & 7];
        const __m512i e = s[(68 - t) & 7], f = s[(69 - t) & 7], g = s[(70 - t) & 7];
        if (t >= 16)
            next_words(words, t);
        const __m512i said = _mm512_add_epi32(words[t & 15], _mm512_set1_epi32((int)SHA256_ROUNDS[t]));
        const __m512i of_e = xor_of_three(_mm512_ror_epi32(e, 6), _mm512_ror_epi32(e, 11), _mm512_ror_epi32(e, 25));
        const __m512i of_a = xor_of_three(_mm512_ror_epi32(a, 2), _mm512_ror_epi32(a, 13), _mm512_ror_epi32(a, 22));
        const __m512i known = _mm512_add_epi32(_mm512_add_epi32(s[(71 - t) & 7], said), of_e);
        const __m512i first = _mm512_add_epi32(known, _mm512_ternarylogic_epi32(e, f, g, CHOICE));
        const __m512i second = _mm512_add_epi32(of_a, _mm512_ternarylogic_epi32(a, b, c, MAJORITY));
        s[(67 - t) & 7] = _mm512_add_epi32(s[(67 - t) & 7], first);
        s[(71 - t) & 7] = _mm512_add_epi32(first, second);
    }
    for (int i = 0; i < 8; i++)
        state[i] = _mm512_add_epi32(state[i], s[i]);
}

/* Sixteen rows of sixteen words become columns, and the other way round. */
TARGET_SIXTEEN static void cross(__m512i r[16]) {
    __m512i pairs[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2)
        pairs[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), pairs[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {                          /* every fourth word of four rows */
        r[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]), r[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]), r[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const __m512i even = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88), odd = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
        const __m512i more_even = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        const __m512i more_odd = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
        r[i] = _mm512_shuffle_i32x4(even, more_even, 0x88), r[i + 8] = _mm512_shuffle_i32x4(even, more_even, 0xDD);
        r[i + 4] = _mm512_shuffle_i32x4(odd, more_odd, 0x88), r[i + 12] = _mm512_shuffle_i32x4(odd, more_odd, 0xDD);
    }
}

/* Words as bytes have them, and the other way round. */
EACH_LANE __m512i turned_words(__m512i words) {
    return _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)));
}

/* What is left of a message behind its whole blocks, with the bit that follows it; less than a block. */
EACH_LANE __m512i last_of(const uint8_t *p, size_t left) {
    const __m512i said = _mm512_maskz_loadu_epi8((1ull << left) - 1, p);
    return _mm512_mask_mov_epi8(said, 1ull << left, _mm512_set1_epi8((char)0x80));
}
#endif

#endif
