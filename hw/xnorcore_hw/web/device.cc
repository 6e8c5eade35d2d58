// The simulated device for a page: small numbers in and out, and a record of what every cycle does.
#include "memory.h"

#include "harness.cc"

#define PAGE(name) extern "C" __attribute__((export_name(name)))

namespace {

// A cycle of the core; operand and written bits follow, each in whole limbs.
struct Cycle {
  u32 flags;   // bits 0-7 what it counts as, then beat, first, double, clear, written, written_clear
  u16 weight_address, written_address;
  u64 written_mask;
};

const u64 OPERAND = sizeof Design::o_operand, WRITTEN = sizeof Design::o_written_bits;
const u64 STRIDE = sizeof(Cycle) + OPERAND + WRITTEN;

Device *device;
u8 *given;
u64 room;
u8 *record;
u64 recorded, record_limit, record_room;

void note() {
  const Design &d = device->design;
  Cycle cycle;
  cycle.flags = (u32)(d.o_stalls | d.o_beat << 8 | d.o_first << 9 | d.o_double << 10 | d.o_clear << 11 |
                      d.o_written << 12 | d.o_written_clear << 13);
  cycle.weight_address = (u16)d.o_weight_address;
  cycle.written_address = (u16)d.o_written_address;
  cycle.written_mask = d.o_written_mask;
  u8 *to = record + recorded++ * STRIDE;
  memcpy(to, &cycle, sizeof cycle);
  memcpy(to + sizeof cycle, &d.o_operand, OPERAND);
  memcpy(to + sizeof cycle + OPERAND, &d.o_written_bits, WRITTEN);
}

} // namespace

// Switch on; 0 if there is no memory.
PAGE("open") u32 page_open() {
  device = (Device *)xc_open(1, 4);
  return device != nullptr;
}
PAGE("reset") void page_reset() { device->power_on(); }
// A place for `size` bytes; 0 if there is no memory.
PAGE("place") u8 *page_place(u32 size) {
  if (size > room) {
    u8 *place = (u8 *)malloc(2 * size);
    if (!place) return nullptr;
    given = place;
    room = 2 * size;
  }
  return given;
}
PAGE("write") u32 page_write(u32 size) { return device->queue.append(given, size); }
// Run until a frame has come, the limit, or the end of the record's room; return the bytes that have come.
PAGE("run") u32 page_run(u32 limit) {
  if (!record_limit) return (u32)xc_run(device, limit);
  u64 before = device->arrived.size();
  while (limit-- && !device->design.failed && !device->out_of_memory) {
    device->run(1);
    if (recorded < record_limit) note();
    u64 now = device->arrived.size();
    if (now != before && !device->arrived.data[device->arrived.last - 1]) break;
    before = now;
  }
  return (u32)device->arrived.size();
}
PAGE("arrived") u8 *page_arrived() { return device->arrived.data + device->arrived.first; }
PAGE("taken") void page_taken() { device->arrived.clear(); }
PAGE("cycles") double page_cycles() { return (double)device->cycles; }
PAGE("pending") u32 page_pending() { return (u32)device->queue.size(); }
PAGE("enough_memory") u32 page_enough_memory() { return !device->out_of_memory; }
PAGE("failed") const char *page_failed() { return xc_failed(device); }
// Keep a record of the next cycles, `limit` at most; 0 ends it. Returns 0 if there is no memory.
PAGE("watch") u32 page_watch(u32 limit) {
  recorded = record_limit = 0;
  if (limit > record_room) {
    u8 *place = (u8 *)malloc(limit * STRIDE);
    if (!place) return 0;
    record = place;
    record_room = limit;
  }
  record_limit = limit;
  return 1;
}
PAGE("record") u8 *page_record() { return record; }
PAGE("recorded") u32 page_recorded() { return (u32)recorded; }
PAGE("stride") u32 page_stride() { return (u32)STRIDE; }
PAGE("operand_bytes") u32 page_operand_bytes() { return (u32)OPERAND; }
