// What the generated code is written in: values are limbs of 64 bits.
#pragma once
#include <stdint.h>
#include <string.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef unsigned __int128 u128; typedef __int128 i128;
// Bits position.. of a value of n limbs, followed for ever by fill.
static inline u64 window(const u64 *t, u64 n, u64 position, u64 fill) {
  u64 q = position / 64, r = position % 64;
  if (q >= n) return fill;
  u64 high = q + 1 < n ? t[q + 1] : fill;
  return r ? t[q] >> r | high << (64 - r) : t[q];
}
// Limb k of a value of n limbs shifted left.
static inline u64 shifted(const u64 *t, u64 n, u64 k, u64 amount) {
  u64 q = amount / 64, r = amount % 64;
  if (q > k) return 0;
  u64 high = t[k - q], low = k > q ? t[k - q - 1] : 0;
  return r ? high << r | low >> (64 - r) : high;
}
static inline u64 sign(u64 v, int n) { return (u64)((int64_t)(v << (64 - n)) >> (64 - n)); }
static inline u64 parity(u64 v) { return __builtin_parityll(v); }
static inline u64 udiv(u64 a, u64 b) { return b ? a / b : 0; }
static inline u64 umod(u64 a, u64 b) { return b ? a % b : 0; }
static inline u64 sdiv(u64 x, u64 y) {
  i128 a = (int64_t)x, b = (int64_t)y;
  if (!b) return 0;
  i128 q = a / b;
  return (u64)(a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q);
}
static inline u64 smod(u64 x, u64 y) { return y ? x - sdiv(x, y) * y : 0; }
