// What the C++ of a netlist is written in, besides prelude.h.
#pragma once
#include "prelude.h"

static inline u8 mux(u8 s, u8 a, u8 b) { return a ^ ((a ^ b) & (u8)-s); }

// A port of a block RAM of 2,048 bytes of 9 bits, of which a port of less than 9 bits uses 8.
enum { KEEP, OLD, NEW };
struct Port {
  int width, mode;
  bool enable, write;
  u32 bytes;
  u64 address, data;
  u64 lane() const { return width % 9 ? 8 : 9; }
  u64 bits() const { return width < 8 ? width : width >= 32 ? 32 : width >= 16 ? 16 : 8; }
  u64 start() const { return address & ~(bits() - 1); }
  bool writes() const { return enable && write; }
};

static inline u64 block_read(const u16 *m, const Port &p) {
  u64 at = p.start() >> 3;
  if (p.width < 8) return m[at] >> (p.start() & 7) & ((1u << p.width) - 1);
  u64 value = 0;
  for (u64 i = 0; i < p.bits() / 8; ++i) value |= (u64)(m[at + i] & ((1u << p.lane()) - 1)) << i * p.lane();
  return value;
}

static inline void block_write(u16 *m, const Port &p) {
  u64 at = p.start() >> 3;
  if (p.width < 8) {
    u32 mask = ((1u << p.width) - 1) << (p.start() & 7);
    m[at] = (u16)((m[at] & ~mask) | ((u32)(p.data << (p.start() & 7)) & mask));
    return;
  }
  u32 mask = (1u << p.lane()) - 1;
  for (u64 i = 0; i < p.bits() / 8; ++i)
    if (p.bytes >> i & 1) m[at + i] = (u16)((m[at + i] & ~mask) | ((u32)(p.data >> i * p.lane()) & mask));
}

static inline bool overlap(const Port &r, const Port &w) {
  if (!w.writes()) return false;
  if (w.width <= 9) return (w.bytes & 1) && w.start() < r.start() + r.bits() && r.start() < w.start() + w.bits();
  for (u64 i = 0; i < w.bits() / 8; ++i) {
    u64 at = w.start() + 8 * i;
    if ((w.bytes >> i & 1) && at < r.start() + r.bits() && r.start() < at + 8) return true;
  }
  return false;
}

// One clock of a block: new outputs in out where changed. What one port reads while the other one writes it
// is not defined: it is the complement here, so that a design that relies on it fails.
static inline void block_clock(u16 *m, const Port *p, int count, u64 *out, bool *changed) {
  for (int i = 0; i < count; ++i) {
    changed[i] = p[i].enable && !(p[i].writes() && p[i].mode == KEEP);
    if (!changed[i]) continue;
    out[i] = block_read(m, p[i]);
    for (int j = 0; j < count; ++j)
      if (j != i && overlap(p[i], p[j])) out[i] = ~out[i];
  }
  for (int i = 0; i < count; ++i)
    if (p[i].writes()) block_write(m, p[i]);
  for (int i = 0; i < count; ++i)
    if (changed[i] && p[i].writes() && p[i].mode == NEW) out[i] = block_read(m, p[i]);
}
