// Inner loops of the bit-packed model: how many bits of weights and activations differ, by XOR and popcount.
// Compiled for the machine that it runs on; all loops over a fixed number of lanes become vector instructions.
#include <stdint.h>
#include <string.h>

#include "slices.h"

typedef uint64_t u64;
typedef uint32_t u32;

#define EXPORT extern "C" __attribute__((visibility("default")))

enum { LANES = 32, NEURONS = 64, PART = 16 };

// Mismatches of 64 neurons with one lane. `tile` has the weights of these neurons, word by word.
static inline void one(const u64 *tile, const u64 *signal, u64 planes, u64 words, u64 lanes, u64 *out) {
    for (u64 q = 0; q < NEURONS; q += PART) {
        u64 acc[PART] = {0};
        for (u64 b = 0; b < planes; b++) {
            for (int n = 0; n < PART; n++) acc[n] += acc[n];
            for (u64 w = 0; w < words; w++) {
                const u64 a = signal[(b * words + w) * lanes];
                const u64 *row = tile + w * NEURONS + q;
                __asm__ volatile("");  // Keeps compilers from making vectors of words, and not of neurons.
                for (int n = 0; n < PART; n++) acc[n] += (u64)__builtin_popcountll(row[n] ^ a);
            }
        }
        memcpy(out + q, acc, sizeof acc);
    }
}

// Mismatches of two neurons with 32 lanes, which lie in `block` word by word.
static inline void two(const u64 *first, const u64 *second, const u64 *block, u64 planes, u64 words, u64 *a, u64 *b) {
    for (int l = 0; l < LANES; l++) a[l] = b[l] = 0;
    for (u64 p = 0; p < planes; p++) {
        for (int l = 0; l < LANES; l++) a[l] += a[l];
        for (int l = 0; l < LANES; l++) b[l] += b[l];
        for (u64 w = 0; w < words; w++) {
            const u64 x = first[w], y = second[w], *row = block + (p * words + w) * LANES;
            for (int l = 0; l < LANES; l++) a[l] += (u64)__builtin_popcountll(row[l] ^ x);
            for (int l = 0; l < LANES; l++) b[l] += (u64)__builtin_popcountll(row[l] ^ y);
        }
    }
}

static void gather(const u64 *signal, u64 rows, u64 lanes, u64 at, u64 count, u64 *block) {
    for (u64 r = 0; r < rows; r++) {
        memcpy(block + r * LANES, signal + r * lanes + at, count * sizeof(u64));
        memset(block + r * LANES + count, 0, (LANES - count) * sizeof(u64));
    }
}

// Bits of all neurons and lanes: mismatches < limit. `limits` has one value per neuron and position; a lane's
// position is its number modulo `positions`. `block` has room for planes * words * 32 words.
EXPORT void xk_bits(
    const u64 *along, const u64 *across, const u64 *signal, const u32 *limits, u64 *block, u64 *out, u64 planes,
    u64 words, u64 lanes, u64 neurons, u64 positions
) {
    const u64 groups = (neurons + NEURONS - 1) / NEURONS;
    if (lanes < 6) {
        u64 acc[NEURONS];
        for (u64 g = 0; g < groups; g++)
            for (u64 l = 0; l < lanes; l++) {
                one(across + g * words * NEURONS, signal + l, planes, words, lanes, acc);
                const u32 *limit = limits + g * NEURONS * positions + l % positions;
                u64 word = 0;
                if (positions == 1)
                    for (u64 n = 0; n < NEURONS; n++) word |= (u64)(acc[n] < limit[n]) << n;
                else
                    for (u64 n = 0; n < NEURONS; n++) word |= (u64)(acc[n] < limit[n * positions]) << n;
                out[g * lanes + l] = word;
            }
        return;
    }
    u64 at = 0;
    if (planes == 1 && positions == 1) at = slices::bits(along, signal, limits, out, words, lanes, neurons);
    for (; at < lanes; at += LANES) {
        const u64 count = lanes - at < LANES ? lanes - at : LANES;
        gather(signal, planes * words, lanes, at, count, block);
        for (u64 g = 0; g < groups; g++) {
            u64 word[LANES] = {0}, a[LANES], b[LANES], la[LANES], lb[LANES];
            for (u64 n = 0; n < NEURONS && g * NEURONS + n < neurons; n += 2) {
                const u64 i = g * NEURONS + n, j = i + 1 < neurons ? i + 1 : i;
                two(along + i * words, along + j * words, block, planes, words, a, b);
                const u32 *p = limits + i * positions, *q = limits + (i + 1) * positions;
                if (positions == 1) {
                    for (int l = 0; l < LANES; l++) la[l] = p[0], lb[l] = q[0];
                } else {
                    for (int l = 0; l < LANES; l++) la[l] = p[(at + l) % positions], lb[l] = q[(at + l) % positions];
                }
                for (int l = 0; l < LANES; l++) word[l] |= (u64)(a[l] < la[l]) << n | (u64)(b[l] < lb[l]) << (n + 1);
            }
            memcpy(out + g * lanes + at, word, count * sizeof(u64));
        }
    }
}

// Mismatches of all neurons (rows of `stride`) and lanes; `out` has a row of `stride` for each lane.
EXPORT void xk_sums(
    const u64 *along, const u64 *across, const u64 *signal, u64 *block, u64 *out, u64 planes, u64 words, u64 lanes,
    u64 neurons
) {
    const u64 groups = (neurons + NEURONS - 1) / NEURONS, stride = groups * NEURONS;
    if (lanes < 6) {
        for (u64 l = 0; l < lanes; l++)
            for (u64 g = 0; g < groups; g++)
                one(across + g * words * NEURONS, signal + l, planes, words, lanes, out + l * stride + g * NEURONS);
        return;
    }
    for (u64 at = 0; at < lanes; at += LANES) {
        const u64 count = lanes - at < LANES ? lanes - at : LANES;
        gather(signal, planes * words, lanes, at, count, block);
        for (u64 n = 0; n < neurons; n += 2) {
            u64 a[LANES], b[LANES];
            const u64 m = n + 1 < neurons ? n + 1 : n;
            two(along + n * words, along + m * words, block, planes, words, a, b);
            for (u64 l = 0; l < count; l++) {
                out[(at + l) * stride + n] = a[l];
                out[(at + l) * stride + m] = b[l];
            }
        }
    }
}

// Planes of values, the most significant first: (planes, words, images, positions), 64 channels to a word.
EXPORT void xk_pack(const uint8_t *values, u64 *out, u64 planes, u64 images, u64 positions, u64 channels) {
    const u64 words = (channels + 63) / 64, count = images * positions;
    for (u64 at = 0; at < count; at++)
        for (u64 w = 0; w < words; w++) {
            const uint8_t *from = values + at * channels + w * 64;
            const u64 here = channels - w * 64 < 64 ? channels - w * 64 : 64;
            u64 word[8] = {0};
            if (planes == 1)
                for (u64 c = 0; c < here; c++) word[0] |= (u64)(from[c] & 1) << c;
            else
                for (u64 c = 0; c < here; c++)
                    for (int b = 0; b < 8; b++) word[b] |= (u64)(from[c] >> b & 1) << c;
            for (u64 b = 0; b < planes; b++) out[((planes - 1 - b) * words + w) * count + at] = word[b];
        }
}

// Words under the kernel at every position of every map, (planes, window, images, rows, columns): those of a tap
// behind each other, or, with `share` taps of `channels` bits in a word, each shifted to its place.
EXPORT void xk_windows(
    const u64 *maps, u64 *out, u64 planes, u64 words, u64 images, u64 height, u64 width, u64 tall, u64 wide,
    u64 down, u64 right, u64 rows, u64 columns, u64 share, u64 channels
) {
    const u64 taps = tall * wide, window = share > 1 ? (taps + share - 1) / share : taps * words;
    if (share > 1) memset(out, 0, planes * window * images * rows * columns * sizeof(u64));
    for (u64 p = 0; p < planes; p++)
        for (u64 t = 0; t < taps; t++)
            for (u64 w = 0; w < words; w++) {
                const u64 to = share > 1 ? t / share : t * words + w, shift = share > 1 ? t % share * channels : 0;
                for (u64 i = 0; i < images; i++)
                    for (u64 y = 0; y < rows; y++) {
                        const u64 *from = maps + (((p * words + w) * images + i) * height + y * down + t / wide) * width;
                        u64 *target = out + (((p * window + to) * images + i) * rows + y) * columns;
                        from += t % wide;
                        if (share > 1) {
                            for (u64 x = 0; x < columns; x++) target[x] |= from[x * right] << shift;
                        } else if (right == 1) {
                            memcpy(target, from, columns * sizeof(u64));
                        } else {
                            for (u64 x = 0; x < columns; x++) target[x] = from[x * right];
                        }
                    }
            }
}

struct Dense {
    const u64 *across;
    const u32 *limits;
    u64 words, neurons, planes;
};

// A chain of dense layers for some images, one after the other: mismatches of the last layer, whose rows are
// whole groups. `room` holds two signals: planes * words of the first layer, or the groups of a hidden one.
EXPORT void xk_chain(
    const Dense *layers, u64 count, const uint8_t *values, u64 images, u64 size, u64 *room, u64 half, u64 *out
) {
    for (u64 i = 0; i < images; i++) {
        u64 *signal = room, *next = room + half;
        xk_pack(values + i * size, signal, layers[0].planes, 1, 1, size);
        for (u64 at = 0; at < count; at++) {
            const Dense *layer = layers + at;
            const u64 groups = (layer->neurons + NEURONS - 1) / NEURONS;
            for (u64 g = 0; g < groups; g++) {
                const u64 *tile = layer->across + g * layer->words * NEURONS;
                if (!layer->limits) {
                    one(tile, signal, layer->planes, layer->words, 1, out + (i * groups + g) * NEURONS);
                    continue;
                }
                u64 acc[NEURONS], word = 0;
                one(tile, signal, layer->planes, layer->words, 1, acc);
                const u32 *limit = layer->limits + g * NEURONS;
                for (u64 n = 0; n < NEURONS; n++) word |= (u64)(acc[n] < limit[n]) << n;
                next[g] = word;
            }
            u64 *other = signal;
            signal = next, next = other;
        }
    }
}
