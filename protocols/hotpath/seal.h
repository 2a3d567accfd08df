/* HMAC-SHA-256 (RFC 2104) with the key's two first blocks worked out once. The compression function is OpenSSL's own: its address
 * comes from the library that Python has loaded. Where the processor has SHA instructions, seals are checked two at a time. */
#ifndef TELELOOP_SEAL_H
#define TELELOOP_SEAL_H

#include <stdint.h>
#include <string.h>

#include "sha.h"

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

/* What follows the whole blocks of a message of n bytes, of which `before` were hashed before it: one or two blocks. */
static size_t ended(const uint8_t *p, size_t n, uint64_t before, uint8_t end[128]) {
    const size_t left = n % 64, blocks = left >= 56 ? 2 : 1;
    memset(end, 0, 128);
    memcpy(end, p + n - left, left);
    end[left] = 0x80;
    put_length(end + 64 * (blocks - 1), before + n);
    return blocks;
}

static void hmac(const schedule_t *s, const uint8_t *p, size_t n, uint8_t tag[32]) {
    sha256_t c;
    uint8_t end[128], digest[32];
    const size_t ends = ended(p, n, 64, end);
    memset(&c, 0, sizeof c);
    memcpy(c.h, s->inner, 32);
    for (size_t i = 0; i < n / 64; i++)
        transform(&c, p + 64 * i);
    for (size_t i = 0; i < ends; i++)
        transform(&c, end + 64 * i);
    put_words(digest, c.h);
    memcpy(c.h, s->outer, 32);
    ended(digest, 32, 64, end);
    transform(&c, end);
    put_words(tag, c.h);
}

typedef struct { const schedule_t *key; const uint8_t *p; size_t n; const uint8_t *tag; uint8_t *holds; } claim_t;

/* Seals that are to be checked, until there are two of them; where one holds, `says` is noted. */
typedef struct { claim_t claim[2]; size_t n, tag_size; uint8_t says; } claims_t;

static inline uint8_t same_tag(const uint8_t *right, const uint8_t *tag, size_t size) {
    uint8_t wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong |= right[i] ^ tag[i];
    return !wrong;
}

#if SIMD
static int twos, by_twos;                                      /* two seals at a time: whether that comes out right; whether it is done */

/* The HMACs of two messages; whichever is shorter waits for the other. */
static void hmac_two(const claim_t claim[2], uint8_t tags[2][32]) {
    uint32_t states[2][8], idle[8];
    uint8_t end[2][128], digest[32];
    size_t whole[2], all[2];
    for (int k = 0; k < 2; k++) {
        whole[k] = claim[k].n / 64, all[k] = whole[k] + ended(claim[k].p, claim[k].n, 64, end[k]);
        memcpy(states[k], claim[k].key->inner, 32);
    }
    memset(idle, 0, sizeof idle);
    for (size_t i = 0; i < all[0] || i < all[1]; i++) {
        uint32_t *of[2];
        const uint8_t *block[2];
        for (int k = 0; k < 2; k++) {
            of[k] = i < all[k] ? states[k] : idle;
            block[k] = i < whole[k] ? claim[k].p + 64 * i : end[k] + (i < all[k] ? 64 * (i - whole[k]) : 0);
        }
        transform_two(of, block);
    }
    for (int k = 0; k < 2; k++) {
        put_words(digest, states[k]);
        ended(digest, 32, 64, end[k]);
        memcpy(states[k], claim[k].key->outer, 32);
    }
    transform_two((uint32_t *[]){states[0], states[1]}, (const uint8_t *[]){end[0], end[1]});
    put_words(tags[0], states[0]), put_words(tags[1], states[1]);
}

/* Whether HMACs two at a time are those by OpenSSL's compression function: of messages of many lengths. */
static int twos_are_right(void) {
    uint8_t message[2][200], tags[2][32], one[32];
    schedule_t key[2];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof message; i++)
        message[i / 200][i % 200] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
    for (size_t n = 0; n <= 200; n++) {
        const size_t sizes[2] = {n, n * 7 % 201};
        claim_t claim[2];
        for (int k = 0; k < 2; k++) {
            schedule(&key[k], message[k] + n % 100, 32);
            claim[k] = (claim_t){&key[k], message[k], sizes[k], NULL, NULL};
        }
        hmac_two(claim, tags);
        for (int k = 0; k < 2; k++) {
            hmac(&key[k], message[k], sizes[k], one);
            if (memcmp(one, tags[k], 32))
                return 0;
        }
    }
    return 1;
}
#endif

/* Check those that wait. */
static void settle(claims_t *c) {
    uint8_t tags[2][32];
#if SIMD
    if (by_twos && c->n) {
        if (c->n == 1)
            c->claim[1] = c->claim[0];
        hmac_two(c->claim, tags);
    } else
#endif
        for (size_t i = 0; i < c->n; i++)
            hmac(c->claim[i].key, c->claim[i].p, c->claim[i].n, tags[i]);
    for (size_t i = 0; i < c->n; i++)
        *c->claim[i].holds = same_tag(tags[i], c->claim[i].tag, c->tag_size) ? c->says : 0;
    c->n = 0;
}

static inline void claimed(claims_t *c, claim_t claim) {
    c->claim[c->n++] = claim;
    if (c->n == 2)
        settle(c);
}

#endif
