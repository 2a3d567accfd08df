"""The C limit: a stand-alone loop for one layout whose offsets, checks, sizes and shuffles are constants, compiled on the spot
for this processor, over frames that lie side by side; checksums by the same code that the kernel has. What a kernel that learns
its layouts can at best come near to."""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from statistics import median

import protocols.hotpath as hotpath
from protocols.hotpath.binding import Binding
from protocols.hotpath.framing import Framing, SumKind
from protocols.hotpath.plans import MOVE, ONTO, ZERO, Plan

HEADERS = Path(hotpath.__file__).parent

_SOURCE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "fold.h"
static crc_t crc;
static fold_t fours;
static const uint8_t ORDER[][16] = {@orders@};
static const uint8_t CONSTANT[] = {@constant@};
static inline __attribute__((always_inline)) int part(const uint8_t *p, uint8_t *row) {
    uint64_t wrong = 0;
@checks@
    __m128i v;
@moves@
    return !wrong;
}
static inline __attribute__((always_inline)) int sums(const uint8_t *const p[4]) { /* of four frames of the right size */
@sums@
}
static inline __attribute__((always_inline)) size_t frames(const uint8_t *data, const uint32_t *at, uint32_t n, uint8_t *row) {
    const uint8_t *p[4];
    for (uint32_t k = 0; k < 4; k++) { /* the last one once more until there are four */
        const uint32_t i = k < n ? k : n - 1;
        if (at[i + 1] - at[i] != @size@) return 0;
        p[k] = data + at[i];
    }
    if (!sums(p)) return 0;
    for (uint32_t k = 0; k < 4 && k < n; k++)
        for (int i = 0; i < @parts@; i++, row += @rows@)
            if (!part(p[k] + @begin@ + i * @part@, row)) return 0;
    return (n < 4 ? n : 4) * @parts@;
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
int main(int argc, char **argv) {
    FILE *f = fopen(argv[1], "rb");
    uint32_t n;
    if (!f || fread(&n, 4, 1, f) != 1) return 1;
    uint32_t *at = malloc(4 * (n + 1));
    if (fread(at, 4, n + 1, f) != n + 1) return 1;
    uint8_t *data = calloc(1, at[n] + 64), *rows = aligned_alloc(64, (size_t)@rows@ * (n * @parts@ + 1));
    if (fread(data, 1, at[n], f) != at[n]) return 1;
    crc_declare(&crc, @crc@), fold_declare(&fours, &crc);
    double best[@rounds@];
    int repeats = atoi(argv[2]);
    for (int r = 0; r < @rounds@; r++) {
        double begin = now();
        size_t good = 0;
        for (int k = 0; k < repeats; k++) {
            uint8_t *row = rows;
            for (uint32_t i = 0; i < n; i += 4) {
                size_t made = frames(data, at + i, n - i, row);
                good += made, row += made * @rows@;
            }
            __asm__ volatile("" : : "r"(rows) : "memory");
        }
        best[r] = (now() - begin) / repeats;
        if (good != (size_t)n * @parts@ * repeats) return 2;
    }
    for (int r = 0; r < @rounds@; r++) printf("%.9f\n", best[r]);
    return 0;
}
"""


def _numbers(data: bytes) -> str:
    return ",".join(map(str, data))


def _sums(f: Framing, total: int, parts: int) -> str:
    """Whether four checksums are right, by the code that the kernel has for four short frames or for a long one."""
    n, at = total - f.sum_from - f.sum_trail, f"p[k] + {f.sum_from}"
    each = "    for (int k = 0; k < 4; k++)"
    if f.sum_kind == SumKind.CRC:
        by_four = f"    const uint8_t *q[4];\n{each} q[k] = {at};\n    crc_alike(&crc, &fours, q, {n}, {f.crc[3]}, sum);"
        fast = f"{each} sum[k] = crc_long(&crc, &fours, {at}, {n}, {f.crc[3]});" if parts > 1 else by_four
        slow = f"{each} sum[k] = crc_folded(&crc, {at}, {n}, {f.crc[3]});"
        fast, macro = f"    uint32_t sum[4];\n{fast}", "__VPCLMULQDQ__"
    else:
        fast = f"    uint64_t sum[4];\n    const uint8_t *q[4];\n{each} q[k] = {at};\n    xors_of_four(q, {n}, sum);"
        slow, macro = f"{each} sum[k] = xor_of({at}, {n});", "__AVX2__"
    turned = f"__builtin_bswap{8 * f.sum_width}" if f.sum_big else ""
    said = f"    uint{8 * f.sum_width}_t said; memcpy(&said, p[k] + {total - f.sum_at}, {f.sum_width});"
    compared = f"{each} {{\n    {said}\n        wrong |= sum[k] ^ {turned}(said);\n    }}"
    lines = [
        f"#ifdef {macro}",
        fast,
        "#else",
        "    uint32_t sum[4];",
        slow,
        "#endif",
        "    uint64_t wrong = 0;",
        compared,
        "    return !wrong;",
    ]
    return "\n".join(lines)


def source(binding: Binding, plan: Plan, parts: int, rounds: int) -> str:
    """The program for frames of `parts` parts of this plan's layout."""
    f, size = binding.framing, plan.size_bytes
    moves = list(MOVE.iter_unpack(plan.moves))
    body, checks = [], []
    for number, (begin, to, first, _) in enumerate(moves):
        taken, order = f"(const __m128i *)(p + {begin})", f"(const __m128i *)ORDER[{number}]"
        shuffled = f"_mm_shuffle_epi8(_mm_loadu_si128({taken}), _mm_loadu_si128({order}))"
        before = "v" if first == ONTO else f"_mm_loadu_si128((const __m128i *)(CONSTANT + {to}))"
        made = shuffled if first == ZERO else f"_mm_or_si128({before}, {shuffled})"
        body.append(f"    v = {made};\n    _mm_storeu_si128((__m128i *)(row + {to}), v);")
    for at in [*range(0, size - 7, 8), size - 8]:
        mask = int.from_bytes(plan.mask[at : at + 8], "little")
        if mask:
            value = int.from_bytes(plan.part[at : at + 8], "little") & mask
            checks.append(f"    wrong |= (load64(p + {at}) & {mask}ull) ^ {value}ull;")
    total = size * parts + f.parts_from + f.parts_trail if f.parts else size
    begin, rows = f.parts_from if f.parts else 0, binding.form.size_bytes
    width, poly, init, reflected, xorout = f.crc if f.sum_kind == SumKind.CRC else (16, 0x1021, 0, 0, 0)
    said = {
        "orders": ",".join("{" + _numbers(each[3]) + "}" for each in moves),
        "constant": _numbers(plan.constant),
        "checks": "\n".join(checks),
        "moves": "\n".join(body),
        "sums": _sums(f, total, parts),
        "size": str(total),
        "part": str(size),
        "begin": str(begin),
        "rows": str(rows),
        "parts": str(parts),
        "crc": f"{width}, {poly}u, {init}u, {reflected}, {xorout}u",
        "rounds": str(rounds),
    }
    program = _SOURCE
    for name, text in said.items():
        program = program.replace(f"@{name}@", text)
    return program


class CLimit:
    """The program for one layout. `seconds` runs it once: the middle CPU time of a pass over all frames in some rounds."""

    def __init__(self, binding: Binding, plan: Plan, frames: list[bytes], parts: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="climit-")
        folder = Path(self._folder.name)
        (folder / "limit.c").write_text(source(binding, plan, parts, rounds=3))
        command = ["cc", "-O3", "-march=native", f"-I{HEADERS}", "limit.c", "-o", "limit"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        offsets = [0]
        for frame in frames:
            offsets.append(offsets[-1] + len(frame))
        packed = struct.pack(f"<{len(offsets) + 1}I", len(frames), *offsets) + b"".join(frames)
        (folder / "frames").write_bytes(packed)
        self._command = [str(folder / "limit"), str(folder / "frames"), str(max(1, 400_000 // (len(frames) * parts)))]

    @staticmethod
    def available() -> bool:
        """Whether there is a compiler."""
        return shutil.which("cc") is not None

    def seconds(self) -> float:
        """CPU time of one pass."""
        done = subprocess.run(self._command, check=True, capture_output=True, text=True)
        return median(map(float, done.stdout.split()))
