/* HMAC-SHA-256 (RFC 2104) with the key's two first blocks worked out once. The compression function is OpenSSL's own: its address
 * comes from the library that Python has loaded, so there is no hash of ours here. */
#ifndef TELELOOP_SEAL_H
#define TELELOOP_SEAL_H

#include <stdint.h>
#include <string.h>

typedef struct { /* OpenSSL's SHA256_CTX */
    uint32_t h[8], low, high, data[16];
    unsigned int num, size;
} sha256_t;

typedef void (*transform_t)(sha256_t *, const unsigned char *);

typedef struct { uint32_t inner[8], outer[8]; } schedule_t;

static transform_t transform;

static const uint32_t SHA256_BEGINNING[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static inline void put_words(uint8_t *to, const uint32_t *h) {
    for (int i = 0; i < 8; i++)
        to[4 * i] = (uint8_t)(h[i] >> 24), to[4 * i + 1] = (uint8_t)(h[i] >> 16), to[4 * i + 2] = (uint8_t)(h[i] >> 8),
               to[4 * i + 3] = (uint8_t)h[i];
}

static inline void put_length(uint8_t *block, uint64_t bytes) {
    uint64_t bits = bytes * 8;
    for (int i = 0; i < 8; i++)
        block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
}

/* `key` has at most 64 bytes. */
static void schedule(schedule_t *s, const uint8_t *key, size_t size) {
    sha256_t c;
    for (int outer = 0; outer < 2; outer++) {
        uint8_t block[64];
        memset(block, outer ? 0x5C : 0x36, 64);
        for (size_t i = 0; i < size; i++)
            block[i] ^= key[i];
        memset(&c, 0, sizeof c);
        memcpy(c.h, SHA256_BEGINNING, 32);
        transform(&c, block);
        memcpy(outer ? s->outer : s->inner, c.h, 32);
    }
}

static void hmac(const schedule_t *s, const uint8_t *p, size_t n, uint8_t tag[32]) {
    sha256_t c;
    uint8_t block[64];
    size_t left = n;
    memset(&c, 0, sizeof c);
    memcpy(c.h, s->inner, 32);
    for (; left >= 64; p += 64, left -= 64)
        transform(&c, p);
    memcpy(block, p, left);
    block[left] = 0x80;
    memset(block + left + 1, 0, 63 - left);
    if (left >= 56) {
        transform(&c, block);
        memset(block, 0, 64);
    }
    put_length(block, 64 + n);
    transform(&c, block);
    put_words(block, c.h);
    memcpy(c.h, s->outer, 32);
    block[32] = 0x80;
    memset(block + 33, 0, 31);
    put_length(block, 64 + 32);
    transform(&c, block);
    put_words(tag, c.h);
}

static int sealed(const schedule_t *s, const uint8_t *p, size_t n, const uint8_t *tag, size_t tag_size) {
    uint8_t right[32], wrong = 0;
    hmac(s, p, n, right);
    for (size_t i = 0; i < tag_size; i++)
        wrong |= right[i] ^ tag[i];
    return !wrong;
}

#endif
