/* HMAC-SHA-256 (RFC 2104) with the key's two first blocks worked out once. The compression function is OpenSSL's own: its address
 * comes from the library that Python has loaded. Where the processor has SHA instructions, seals are checked two at a time; where it
 * has 512-bit registers, sixteen. */
#ifndef TELELOOP_SEAL_H
#define TELELOOP_SEAL_H

#include <stdint.h>
#include <string.h>

#include "sha.h"
#include "sixteen.h"

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

enum { AT_ONCE = 16, BY_TWOS = 8 };                             /* so many are quicker two at a time than as sixteen */

/* Seals that are to be checked, until there are enough of them; where one holds, `says` is noted. */
typedef struct { claim_t claim[AT_ONCE]; size_t n, tag_size; uint8_t says; } claims_t;

static inline uint8_t same_tag(const uint8_t *right, const uint8_t *tag, size_t size) {
    uint8_t wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong |= right[i] ^ tag[i];
    return !wrong;
}

#if SIMD
static int twos, by_twos;                                      /* two seals at a time: whether that comes out right; whether it is done */
static int sixteens, by_sixteens;                              /* likewise */

typedef void hmacs_t(const claim_t *, size_t, uint8_t (*)[32]);

/* The HMACs of two messages; whichever is shorter waits for the other. */
static void hmac_two(const claim_t *claim, size_t n, uint8_t (*tags)[32]) {
    uint32_t states[2][8], idle[8];
    uint8_t end[2][128], digest[32];
    size_t whole[2], all[2];
    (void)n;
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

/* The HMACs of up to sixteen messages of less than half a gigabyte; those with fewer blocks wait for the others. */
TARGET_SIXTEEN static void hmac_sixteen(const claim_t *claim, size_t n, uint8_t (*tags)[32]) {
    const claim_t *of[SIXTEEN];
    uint32_t bits[SIXTEEN];
    size_t most = 0;
    __m512i state[8], outer[8], words[16], before[8];
    for (size_t k = 0; k < SIXTEEN; k++) {
        of[k] = claim + (k < n ? k : 0), bits[k] = (uint32_t)(8 * (64 + of[k]->n));
        most = of[k]->n / 64 > most ? of[k]->n / 64 : most;
        words[k] = _mm512_loadu_si512(of[k]->key);
    }
    cross(words);
    for (int i = 0; i < 8; i++)
        state[i] = words[i], outer[i] = words[i + 8];
    for (size_t at = 0; at <= most + 1; at++) {
        __mmask16 more = 0, ends = 0;
        for (size_t k = 0; k < SIXTEEN; k++) {
            const size_t whole = of[k]->n / 64, left = of[k]->n % 64, end = whole + (left >= 56);
            const uint8_t *p = of[k]->p + 64 * at;
            more |= (__mmask16)((at <= end) << k), ends |= (__mmask16)((at == end) << k);
            words[k] = turned_words(at < whole ? _mm512_loadu_si512(p) : at == whole ? last_of(p, left) : _mm512_setzero_si512());
        }
        if (!more)
            break;
        cross(words);
        words[15] = _mm512_mask_mov_epi32(words[15], ends, _mm512_loadu_si512(bits));
        memcpy(before, state, sizeof before);
        transform_sixteen(state, words);
        for (int i = 0; i < 8; i++)
            state[i] = _mm512_mask_mov_epi32(before[i], more, state[i]);
    }
    for (int i = 0; i < 8; i++)
        words[i] = state[i], words[i + 8] = _mm512_setzero_si512();
    words[8] = _mm512_set1_epi32((int)0x80000000u), words[15] = _mm512_set1_epi32(8 * (64 + 32));
    transform_sixteen(outer, words);
    for (int i = 0; i < 8; i++)
        words[i] = outer[i];
    cross(words);
    for (size_t k = 0; k < n; k++)
        _mm256_storeu_si256((__m256i *)tags[k], _mm512_castsi512_si256(turned_words(words[k])));
}

/* Whether so many HMACs at a time are those by OpenSSL's compression function: of messages of many lengths. */
static int right_at_once(hmacs_t *hmacs, size_t many) {
    uint8_t message[AT_ONCE][200], tags[AT_ONCE][32], one[32];
    schedule_t key[AT_ONCE];
    claim_t claim[AT_ONCE];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof message; i++)
        message[i / 200][i % 200] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
    for (size_t n = 0; n <= 200; n++) {
        for (size_t k = 0; k < many; k++) {
            schedule(&key[k], message[k] + n % 100, 32);
            claim[k] = (claim_t){&key[k], message[k], n * (1 + 6 * k) % 201, NULL, NULL};
        }
        hmacs(claim, many, tags);
        for (size_t k = 0; k < many; k++) {
            hmac(&key[k], message[k], claim[k].n, one);
            if (memcmp(one, tags[k], 32))
                return 0;
        }
    }
    return 1;
}
#endif

/* Check those that wait. */
static void settle(claims_t *c) {
    uint8_t tags[AT_ONCE + 1][32];
    size_t done = 0;
#if SIMD
    if (by_sixteens && c->n > BY_TWOS)
        hmac_sixteen(c->claim, c->n, tags), done = c->n;
    for (; by_twos && done < c->n; done += 2)                  /* the last one once more where it is alone */
        hmac_two((claim_t[]){c->claim[done], c->claim[done + 1 < c->n ? done + 1 : done]}, 2, tags + done);
#endif
    for (; done < c->n; done++)
        hmac(c->claim[done].key, c->claim[done].p, c->claim[done].n, tags[done]);
    for (size_t i = 0; i < c->n; i++)
        *c->claim[i].holds = same_tag(tags[i], c->claim[i].tag, c->tag_size) ? c->says : 0;
    c->n = 0;
}

static inline void claimed(claims_t *c, claim_t claim) {
    c->claim[c->n++] = claim;
    if (c->n == AT_ONCE)
        settle(c);
}

#endif
