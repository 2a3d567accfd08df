/* SHA-256's compression function (FIPS 180-4) for two blocks beside each other, by the processor's own instructions: each waits for
 * the one before, so that two independent chains take hardly longer than one. Used only after it agreed with OpenSSL's. */
#ifndef TELELOOP_SHA_H
#define TELELOOP_SHA_H

#include "crc.h"

#if SIMD
#include <cpuid.h>
#define TARGET_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define LANES_OF_SHA 2

static const uint32_t SHA256_ROUNDS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static int has_sha(void) {
    unsigned int a, b, c, d;
    return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

TARGET_SHA static void transform_two(uint32_t *const states[LANES_OF_SHA], const uint8_t *const blocks[LANES_OF_SHA]) {
    const __m128i turned = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    __m128i abef[LANES_OF_SHA], cdgh[LANES_OF_SHA], words[LANES_OF_SHA][4], before[LANES_OF_SHA][2];
#pragma GCC unroll 2
    for (int k = 0; k < LANES_OF_SHA; k++) {
        const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)states[k]), 0xB1);
        const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)states[k] + 1), 0x1B);
        before[k][0] = abef[k] = _mm_alignr_epi8(cdab, efgh, 8);
        before[k][1] = cdgh[k] = _mm_blend_epi16(efgh, cdab, 0xF0);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        const __m128i constants = _mm_load_si128((const __m128i *)SHA256_ROUNDS + i);
#pragma GCC unroll 2
        for (int k = 0; k < LANES_OF_SHA; k++) {
            __m128i *w = words[k];
            if (i < 4)
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)blocks[k] + i), turned);
            else {
                const __m128i older = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]), _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(older, w[(i + 3) & 3]);
            }
            const __m128i sum = _mm_add_epi32(w[i & 3], constants);
            cdgh[k] = _mm_sha256rnds2_epu32(cdgh[k], abef[k], sum);
            abef[k] = _mm_sha256rnds2_epu32(abef[k], cdgh[k], _mm_shuffle_epi32(sum, 0x0E));
        }
    }
#pragma GCC unroll 2
    for (int k = 0; k < LANES_OF_SHA; k++) {
        const __m128i feba = _mm_shuffle_epi32(_mm_add_epi32(abef[k], before[k][0]), 0x1B);
        const __m128i dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh[k], before[k][1]), 0xB1);
        _mm_storeu_si128((__m128i *)states[k], _mm_blend_epi16(feba, dchg, 0xF0));
        _mm_storeu_si128((__m128i *)states[k] + 1, _mm_alignr_epi8(dchg, feba, 8));
    }
}
#endif

#endif
