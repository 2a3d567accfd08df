/* Any CRC of 1 to 32 bits, reflected or not, and the XOR of all bytes: 8 bytes a step by tables, 16 by carry-less multiplication.
 *
 * Whatever its width, a CRC is worked out as one of 32 bits whose polynomial is shifted to the top. Folding constants are powers
 * of x modulo that polynomial, made when the CRC is declared; the remainder is taken by Barrett's reduction. */
#ifndef TELELOOP_CRC_H
#define TELELOOP_CRC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SIMD 1
#include <immintrin.h>
#define TARGET_CLMUL __attribute__((target("ssse3,sse4.1,pclmul")))
#define TARGET_WIDE __attribute__((target("avx2,sse4.1,ssse3,pclmul")))
#else
#define SIMD 0
#endif

typedef struct {
    int width, reflected;
    uint32_t init, xorout;                  /* in the catalogue's terms */
    uint32_t top;                           /* the polynomial, shifted to the top of 32 bits */
    uint32_t table[8][256];
    uint64_t x64, x96, x128, x192, x512, x576, barrett;
} crc_t;

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint32_t reversed_bits(uint32_t v, int width) {
    uint32_t r = 0;
    for (int i = 0; i < width; i++)
        if (v >> i & 1)
            r |= 1u << (width - 1 - i);
    return r;
}

static uint64_t x_to(int power, uint32_t top) { /* x^power modulo x^32 + top */
    uint32_t r = 1;
    for (int i = 0; i < power; i++)
        r = r << 1 ^ (r >> 31 ? top : 0);
    return r;
}

static void crc_declare(crc_t *c, int width, uint32_t poly, uint32_t init, int reflected, uint32_t xorout) {
    memset(c, 0, sizeof *c);
    c->width = width, c->reflected = reflected, c->xorout = xorout;
    c->init = init, c->top = poly << (32 - width);
    uint32_t mirrored = reversed_bits(c->top, 32);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = reflected ? i : i << 24;
        for (int k = 0; k < 8; k++)
            v = reflected ? v >> 1 ^ (v & 1 ? mirrored : 0) : v << 1 ^ (v >> 31 ? c->top : 0);
        c->table[0][i] = v;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t v = c->table[t - 1][i];
            c->table[t][i] = reflected ? v >> 8 ^ c->table[0][v & 255] : v << 8 ^ c->table[0][v >> 24];
        }
    c->x64 = x_to(64, c->top), c->x96 = x_to(96, c->top), c->x128 = x_to(128, c->top);
    c->x192 = x_to(192, c->top), c->x512 = x_to(512, c->top), c->x576 = x_to(576, c->top);
    uint64_t quotient = 1, rest = c->top; /* x^64 divided by x^32 + top */
    for (int i = 0; i < 32; i++) {
        quotient = quotient << 1 | (rest >> 31 & 1);
        rest = (rest << 1 ^ (rest >> 31 & 1 ? c->top : 0)) & 0xFFFFFFFFu;
    }
    c->barrett = quotient;
}

/* The register is in table order: reflected CRCs at the bottom, the others at the top of 32 bits. */
static uint32_t crc_tables(const crc_t *c, const uint8_t *p, size_t n) {
    uint32_t r = c->reflected ? reversed_bits(c->init, c->width) : c->init << (32 - c->width);
    if (c->reflected) {
        for (; n >= 8; p += 8, n -= 8) {
            uint64_t v = load64(p) ^ r;
            r = 0;
            for (int t = 0; t < 8; t++)
                r ^= c->table[7 - t][v >> 8 * t & 255];
        }
        for (; n; n--)
            r = r >> 8 ^ c->table[0][(r ^ *p++) & 255];
        return (r ^ c->xorout) & (uint32_t)(0xFFFFFFFFu >> (32 - c->width));
    }
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v = load64(p) ^ __builtin_bswap32(r);
        r = 0;
        for (int t = 0; t < 8; t++)
            r ^= c->table[7 - t][v >> 8 * t & 255];
    }
    for (; n; n--)
        r = r << 8 ^ c->table[0][r >> 24 ^ *p++];
    return r >> (32 - c->width) ^ c->xorout;
}

static uint8_t xor_of(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (; n >= 8; p += 8, n -= 8)
        v ^= load64(p);
    v ^= v >> 32, v ^= v >> 16, v ^= v >> 8;
    for (; n; n--)
        v ^= *p++;
    return (uint8_t)v;
}

#if SIMD
/* 16 bytes as a polynomial, the first bit of the message at the top. */
TARGET_CLMUL static inline __m128i block(const uint8_t *p, int reflected) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    if (reflected) {
        const __m128i low = _mm_set1_epi8(15);
        const __m128i up = _mm_setr_epi8(0, -128, 64, -64, 32, -96, 96, -32, 16, -112, 80, -48, 48, -80, 112, -16);
        const __m128i down = _mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
        v = _mm_or_si128(_mm_shuffle_epi8(up, _mm_and_si128(v, low)),
                         _mm_shuffle_epi8(down, _mm_and_si128(_mm_srli_epi16(v, 4), low)));
    }
    return _mm_shuffle_epi8(v, _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
}

TARGET_CLMUL static inline __m128i fold(__m128i v, __m128i by, __m128i onto) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(v, by, 0x11), _mm_clmulepi64_si128(v, by, 0x00)), onto);
}

/* Needs n >= 16. */
TARGET_CLMUL static inline __attribute__((always_inline)) uint32_t crc_folded(const crc_t *c, const uint8_t *p, size_t n,
                                                                              int reflected) {
    static const uint8_t slide[32] = {0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,  14,  15,
                                      128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128};
    const __m128i by1 = _mm_set_epi64x((long long)c->x192, (long long)c->x128);
    uint64_t init = (uint64_t)c->init << (64 - c->width);
    __m128i v = _mm_xor_si128(block(p, reflected), _mm_set_epi64x((long long)init, 0));
    size_t head = n & 15;
    if (head) { /* the first n mod 16 bytes, and what of the initial value lies behind them */
        v = _mm_shuffle_epi8(v, _mm_loadu_si128((const __m128i *)(slide + 16 - head)));
        uint64_t behind = head < 4 ? init << 8 * head : 0;
        v = fold(v, by1, _mm_xor_si128(block(p + head, reflected), _mm_set_epi64x((long long)behind, 0)));
        p += head, n -= head;
    }
    p += 16, n -= 16;
    if (n >= 112) {
        const __m128i by4 = _mm_set_epi64x((long long)c->x576, (long long)c->x512);
        __m128i a = v, b = block(p, reflected), d = block(p + 16, reflected), e = block(p + 32, reflected);
        for (p += 48, n -= 48; n >= 64; p += 64, n -= 64) {
            a = fold(a, by4, block(p, reflected)), b = fold(b, by4, block(p + 16, reflected));
            d = fold(d, by4, block(p + 32, reflected)), e = fold(e, by4, block(p + 48, reflected));
        }
        v = fold(fold(fold(a, by1, b), by1, d), by1, e);
    }
    for (; n; p += 16, n -= 16)
        v = fold(v, by1, block(p, reflected));
    /* v * x^32 modulo the polynomial */
    __m128i k = _mm_set_epi64x((long long)c->x64, (long long)c->x96);
    __m128i w = _mm_xor_si128(_mm_clmulepi64_si128(v, k, 0x01), _mm_slli_si128(_mm_move_epi64(v), 4));
    w = _mm_xor_si128(_mm_clmulepi64_si128(w, k, 0x11), _mm_move_epi64(w));
    __m128i m = _mm_set_epi64x((long long)(1ull << 32 | c->top), (long long)c->barrett);
    __m128i q = _mm_clmulepi64_si128(_mm_srli_epi64(_mm_move_epi64(w), 32), m, 0x00);
    q = _mm_clmulepi64_si128(_mm_srli_epi64(_mm_move_epi64(q), 32), m, 0x10);
    uint32_t r = (uint32_t)_mm_cvtsi128_si32(_mm_xor_si128(w, q));
    r >>= 32 - c->width;
    if (reflected) {
        r = (r & 0x55555555) << 1 | (r >> 1 & 0x55555555);
        r = (r & 0x33333333) << 2 | (r >> 2 & 0x33333333);
        r = (r & 0x0F0F0F0F) << 4 | (r >> 4 & 0x0F0F0F0F);
        r = __builtin_bswap32(r) >> (32 - c->width);
    }
    return r ^ c->xorout;
}
#endif

#endif
