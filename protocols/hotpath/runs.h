/* Frames that are all of one layout, side by side: what is the same for all of them stays in registers, and whether they are as
 * they should be is asked once for all. Where they are not, the walk looks at each of them. */
#ifndef TELELOOP_RUNS_H
#define TELELOOP_RUNS_H

#if SIMD
/* Whether all frames of a tile are of this plan. */
TARGET_WIDE INLINE int all_agree(const table_t *t, const plan_t *plan, const tile_t *tile) {
    size_t other = 0;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < tile->n; i++)
        other |= tile->size[i] ^ plan->size;
    if (other)
        return 0;
    uint64_t strange = 0;
    for (uint32_t i = 0; t->framing.context_mask && !t->framing.parts && i < tile->n; i++)
        strange |= (load64(tile->frame[i] + t->framing.context_at) & (uint64_t)t->framing.context_mask) ^ plan->context;
    if (plan->size < CHECK) {
        for (uint32_t i = 0; i < tile->n; i++)
            strange |= !narrow_agrees(plan, tile->frame[i]);
        return !strange;
    }
    const check_t *check = checks(t, plan);
    const uint16_t *place = check_places(plan, check);
    __m256i wrong = _mm256_setzero_si256();
    for (uint32_t k = 0; k < plan->rest->checks; k++) {
        const __m256i mask = wide_at(check[k].mask), value = wide_at(check[k].value);
        const size_t at = place[k];
#pragma GCC unroll 4
        for (uint32_t i = 0; i < tile->n; i++)
            wrong = _mm256_or_si256(wrong, _mm256_and_si256(mask, _mm256_xor_si256(value, wide_at(tile->frame[i] + at))));
    }
    return !strange && _mm256_testz_si256(wrong, wrong);
}

/* Whether the XORs of a tile of frames of one size, from 16 bytes on, are what the frames say. */
TARGET_WIDE INLINE int all_xors_hold(const table_t *t, const tile_t *tile) {
    const size_t from = (size_t)t->framing.sum_from, n = tile->size[0] - from - (size_t)t->framing.sum_trail;
    uint64_t wrong = 0;
    for (uint32_t done = 0; done < tile->n; done += 4) { /* the last one once more until there are four */
        const uint8_t *p[4];
        uint64_t said[4], sum[4];
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t i = done + k < tile->n ? done + k : tile->n - 1;
            p[k] = tile->frame[i] + from, said[k] = said_sum(t, tile->frame[i], tile->size[0]);
        }
        xors_of_four(p, n, sum);
        for (uint32_t k = 0; k < 4; k++)
            wrong |= sum[k] ^ said[k];
    }
    return !wrong;
}

/* The same of their CRCs. */
TARGET_VAST INLINE int all_crcs_hold(const table_t *t, const tile_t *tile, int reflected) {
    const size_t from = (size_t)t->framing.sum_from, n = tile->size[0] - from - (size_t)t->framing.sum_trail;
    uint64_t wrong = 0;
    for (uint32_t done = 0; done < tile->n; done += 4) {
        const uint8_t *p[4];
        uint64_t said[4];
        uint32_t sum[4];
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t i = done + k < tile->n ? done + k : tile->n - 1;
            p[k] = tile->frame[i] + from, said[k] = said_sum(t, tile->frame[i], tile->size[0]);
        }
        crc_alike(&t->crc, &t->fold, p, n, reflected, sum);
        for (uint32_t k = 0; k < 4; k++)
            wrong |= sum[k] ^ said[k];
    }
    return !wrong;
}

/* The rows of a tile of this plan's frames, two blocks after two. */
TARGET_WIDE INLINE void fill_all(const table_t *t, const plan_t *plan, const tile_t *tile) {
    const uint16_t *at = froms(t, plan);
    const duo_t *duo = duos(plan, checks(t, plan));
    const uint32_t n = tile->n, pairs = (t->row_size + 31) / 32;
    for (uint32_t k = 0; k < pairs; k++) {
        const uint32_t to = pair_at(t, k), onto = plan->rest->onto[k];
        const __m256i order = wide_at(plan->order + to);
        const __m256i present = to < t->present_size ? wide_at(plan->order + t->at.present + to) : _mm256_setzero_si256();
        const uint32_t a = at[to / 16], b = at[to / 16 + 1];
        if (onto == NO_DATA)
            for (uint32_t i = 0; i < n; i++)
                _mm256_storeu_si256((__m256i *)(tile->row[i] + to), present);
        else if (!onto && to >= t->present_size && k + 1 < pairs && !plan->rest->onto[k + 1]) { /* and the next two with them */
            const uint32_t next = pair_at(t, ++k), c = at[next / 16], d = at[next / 16 + 1];
            const __m256i other = wide_at(plan->order + next);
#pragma GCC unroll 2
            for (uint32_t i = 0; i < n; i++) {
                const uint8_t *p = tile->frame[i];
                uint8_t *row = tile->row[i];
                _mm256_storeu_si256((__m256i *)(row + to), both_from(p, a, b, order));
                _mm256_storeu_si256((__m256i *)(row + next), both_from(p, c, d, other));
            }
        } else if (!onto)
            for (uint32_t i = 0; i < n; i++)
                _mm256_storeu_si256((__m256i *)(tile->row[i] + to), _mm256_or_si256(present, both_from(tile->frame[i], a, b, order)));
        else {
            const __m256i more = wide_at(duo->order);
            const uint32_t c = duo->a, d = duo->b;
            for (uint32_t i = 0; i < n; i++) {
                const uint8_t *p = tile->frame[i];
                const __m256i v = _mm256_or_si256(both_from(p, a, b, order), both_from(p, c, d, more));
                _mm256_storeu_si256((__m256i *)(tile->row[i] + to), _mm256_or_si256(present, v));
            }
            for (const duo_t *each = duo + 1; each < duo + (onto & ~NO_DATA); each++)
                for (uint32_t i = 0; i < n; i++) {
                    __m256i *row = (__m256i *)(tile->row[i] + to);
                    _mm256_storeu_si256(row, _mm256_or_si256(_mm256_loadu_si256(row), both_from(tile->frame[i], each->a, each->b, wide_at(each->order))));
                }
        }
        duo += onto & ~NO_DATA;
    }
}

/* Whether all rows of a tile are within bounds: if not, each may be right all the same. */
TARGET_WIDE INLINE int all_bounded(const table_t *t, const tile_t *tile) {
    if (!t->bounded)
        return 0;
    __m256i right = _mm256_set1_epi8(-1);
    for (uint32_t k = 0; k < t->bands; k++) {
        const __m256i low = wide_at(t->band[k].low), high = wide_at(t->band[k].high);
        const size_t at = t->band[k].at;
        for (uint32_t i = 0; i < tile->n; i++) {
            const __m256i v = wide_at(tile->row[i] + at);
            right = _mm256_and_si256(right, _mm256_cmpeq_epi8(_mm256_max_epu8(_mm256_min_epu8(v, high), low), v));
        }
    }
    uint64_t wrong = 0;
    for (uint32_t k = 0; k < t->spans; k++) {
        const span_t s = t->span[k];
        for (uint32_t i = 0; i < tile->n; i++)
            wrong |= (load64(tile->row[i] + s.at) & s.mask) - s.low > s.span;
    }
    return !wrong & (_mm256_movemask_epi8(right) == -1);
}
#endif

#endif
