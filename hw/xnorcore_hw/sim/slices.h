// Bits of a layer for many lanes at once: a word holds one channel, or one neuron, of 64 lanes, and numbers of
// mismatches are counted in planes of such words. What seven channels add to a count depends on seven weights: it
// is computed for all 128 of them once, and looked up by every neuron.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace slices {

typedef uint64_t u64;
typedef uint32_t u32;
typedef u64 Lanes __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

enum { SIDE = 64, WIDE = 4 * SIDE, TAPS = 7, GROUPS = SIDE / TAPS, TABLE = 1 << TAPS, LOW = 7, ENOUGH = 128 };

// A number of 0 to 7 for each lane.
struct Count {
    Lanes one, two, four;
};

// Add two bits to a plane; what it carries.
INLINE Lanes add(Lanes &sum, const Lanes &x, const Lanes &y) {
    const Lanes either = sum ^ x, carry = (sum & x) | (either & y);
    sum = either ^ y;
    return carry;
}

// Add two numbers to three planes; what they carry, of twice their weight.
INLINE Count join(Lanes *sum, const Count &x, const Count &y) {
    return {add(sum[0], x.one, y.one), add(sum[1], x.two, y.two), add(sum[2], x.four, y.four)};
}

INLINE Count more(const Count &count, const Lanes &bit) {
    const Lanes carry = count.one & bit;
    return {count.one ^ bit, count.two ^ carry, count.four | (count.two & carry)};
}

// Rows and columns of four squares of 64 x 64 bits change places.
static void transpose(Lanes *rows) {
    u64 mask = 0xFFFFFFFF;
    for (int j = SIDE / 2; j; j >>= 1, mask ^= mask << j)
        for (int k = 0; k < SIDE; k = (k + j + 1) & ~j) {
            const Lanes change = ((rows[k] >> j) ^ rows[k + j]) & mask;
            rows[k] ^= change << j;
            rows[k + j] ^= change;
        }
}

// Mismatches of each seven of 63 channels with any seven weights.
static void fill(Count *table, const Lanes *channels) {
    for (int g = 0; g < GROUPS; g++, table += TABLE) {
        table[0] = Count{};
        for (int j = 0; j < TAPS; j++) {
            const Lanes bit = channels[g * TAPS + j];
            for (int e = 0; e < 1 << j; e++) {
                table[e | 1 << j] = more(table[e], ~bit);
                table[e] = more(table[e], bit);
            }
        }
    }
}

// Add the mismatches of one word of weights to a neuron's planes; `last` is the channel that no table has.
INLINE void count(const Count *table, const Lanes &last, u64 word, Lanes *planes, u64 high) {
    Lanes sum[LOW];
    for (int p = 0; p < LOW; p++) sum[p] = planes[p];
    const auto of = [&](int g) -> const Count & { return table[g * TABLE + (word >> g * TAPS & (TABLE - 1))]; };
    const Count first = join(sum + 1, join(sum, of(0), of(1)), join(sum, of(2), of(3)));
    const Count second = join(sum + 1, join(sum, of(4), of(5)), join(sum, of(6), of(7)));
    const Count eight = join(sum + 2, first, second), &ninth = of(8);
    Lanes carry = add(sum[0], ninth.one, last ^ (0 - (word >> 63)));
    carry = add(sum[1], ninth.two, carry);
    carry = add(sum[2], ninth.four, carry);
    carry = add(sum[3], eight.one, carry);
    carry = add(sum[4], eight.two, carry);
    carry = add(sum[5], eight.four, carry);
    carry = add(sum[6], carry, Lanes{});
    for (int p = 0; p < LOW; p++) planes[p] = sum[p];
    for (u64 p = LOW; p < high; p++) carry = add(planes[p], carry, Lanes{});
}

// Limits are at most one above the most mismatches, and `high` planes hold that.
INLINE Lanes less(const Lanes *planes, u64 high, u32 limit) {
    Lanes found = {};
    for (u64 p = 0; p < high; p++) found = limit >> p & 1 ? ~planes[p] | found : ~planes[p] & found;
    return found;
}

// Up to 256 lanes from `signal` on, whose words lie `lanes` apart; `out` gets a row of the same length for each 64
// neurons. `table` has room for 9 * 128 counts, `planes` for `high` of each neuron.
static void block(
    const u64 *weights, const u64 *signal, const u32 *limits, u64 *out, u64 words, u64 lanes, u64 here, u64 neurons,
    Count *table, Lanes *planes, u64 high
) {
    Lanes square[SIDE];
    u64 row[WIDE] = {0};
    memset(planes, 0, neurons * high * sizeof(Lanes));
    for (u64 w = 0; w < words; w++) {
        memcpy(row, signal + w * lanes, here * sizeof(u64));
        for (int i = 0; i < SIDE; i++)
            square[i] = Lanes{row[i], row[SIDE + i], row[2 * SIDE + i], row[3 * SIDE + i]};
        transpose(square);
        fill(table, square);
        for (u64 n = 0; n < neurons; n++)
            count(table, square[SIDE - 1], weights[n * words + w], planes + n * high, high);
    }
    for (u64 first = 0; first < neurons; first += SIDE) {
        for (u64 i = 0; i < SIDE; i++)
            square[i] = first + i < neurons ? less(planes + (first + i) * high, high, limits[first + i]) : Lanes{};
        transpose(square);
        for (int i = 0; i < SIDE; i++)
            for (int q = 0; q < 4; q++) row[q * SIDE + i] = square[i][q];
        memcpy(out + first / SIDE * lanes, row, here * sizeof(u64));
    }
}

// Bits of all neurons: mismatches < limit. How many of the lanes are done: the rest are too few, or there is no memory.
static u64 bits(
    const u64 *weights, const u64 *signal, const u32 *limits, u64 *out, u64 words, u64 lanes, u64 neurons
) {
    if (lanes < ENOUGH) return 0;
    u64 high = LOW, at = 0;
    while (words * SIDE >> high) high++;
    char *room = (char *)malloc(GROUPS * TABLE * sizeof(Count) + (neurons * high + 1) * sizeof(Lanes));
    if (!room) return 0;
    Count *table = (Count *)(((uintptr_t)room + sizeof(Lanes) - 1) & ~(uintptr_t)(sizeof(Lanes) - 1));
    Lanes *planes = (Lanes *)(table + GROUPS * TABLE);
    for (; lanes - at >= ENOUGH; at += lanes - at < WIDE ? lanes - at : WIDE)
        block(
            weights, signal + at, limits, out + at, words, lanes, lanes - at < WIDE ? lanes - at : WIDE, neurons,
            table, planes, high
        );
    free(room);
    return at;
}

}  // namespace slices
