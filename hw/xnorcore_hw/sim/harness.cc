// One device and the host's end of its link. Built together with the generated design.h.
#include "design.h"
#include "wire.h"
#include <stdlib.h>

#ifdef TRACED
extern "C" const char xc_names[];
#endif

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

// Growing byte queue. No C++ library: zig would have to build its own first.
struct Bytes {
  u8 *data;
  u64 first, last, room;
  bool reserve(u64 size) {
    if (last + size <= room) return true;
    if (first) memmove(data, data + first, last - first);
    last -= first;
    first = 0;
    if (last + size <= room) return true;
    u64 wanted = room ? room : 4096;
    while (wanted < last + size) wanted *= 2;
    u8 *grown = (u8 *)realloc(data, wanted);
    if (!grown) return false;
    data = grown;
    room = wanted;
    return true;
  }
  bool append(const u8 *from, u64 size) {
    if (!reserve(size)) return false;
    memcpy(data + last, from, size);
    last += size;
    return true;
  }
  u64 size() const { return last - first; }
  void clear() { first = last = 0; }
};

struct Device {
  Design design;
  bool direct;
  u64 divisor;
  bool out_of_memory;
  u64 cycles;
  Bytes queue;   // to the device, not yet on the wire
  Bytes arrived; // from the device, not yet collected
  long long bit_time; // of the host
  // Transmitter: frame is the start bit, eight data bits and the stop bit, lowest first.
  u8 sending;
  u32 frame;
  int bits_left;
  long long bit_left;
  Reader reader, truth; // truth: what the device sent, whatever becomes of it
  Noise noise[2];
  Tally tally[2];

  // Switch the device off and on; the host notices nothing.
  void restart() {
    design.power_off();
    design.power_on();
    design.i_direct = direct;
    design.i_divisor = divisor;
    design.i_uart_rx = 1;
    design.i_host_to_device__valid = 0;
    design.i_host_to_device__payload = 0;
    design.i_device_to_host__ready = 1;
  }
  void power_on() {
    restart();
    queue.clear();
    arrived.clear();
    bits_left = 0;
    memset(&reader, 0, sizeof reader);
    memset(&truth, 0, sizeof truth);
    memset(tally, 0, sizeof tally);
  }

  // Keep a byte from the device; true if it ends a frame.
  bool deliver(u8 value) {
    if (!arrived.append(&value, 1)) out_of_memory = true;
    return value == 0;
  }

  bool cycle_direct() {
    bool offered = queue.size() != 0;
    design.i_host_to_device__valid = offered;
    if (offered) design.i_host_to_device__payload = queue.data[queue.first];
    design.cycle();
    ++cycles;
    if (offered && design.o_host_to_device__ready) ++queue.first;
    if (!design.o_device_to_host__valid) return false;
    return deliver((u8)design.o_device_to_host__payload);
  }

  bool cycle_uart() {
    if (!bits_left && queue.size() != 0) {
      sending = queue.data[queue.first++];
      frame = 0x200 | (u32)sending << 1;
      bits_left = 10;
      bit_left += bit_time;
    }
    bool line = bits_left ? frame & 1 : 1;
    design.i_uart_rx = noise[TO_DEVICE].state ? disturb(TO_DEVICE, line) : line;
    if (bits_left && (bit_left -= CYCLE) <= 0) {
      frame >>= 1;
      if (--bits_left) bit_left += bit_time;
      else {
        tally[TO_DEVICE].byte(sending);
        if (queue.size() == 0) bit_left = 0; // else what is over belongs to the next byte
      }
    }
    design.cycle();
    ++cycles;
    line = design.o_uart_tx;
    if (noise[TO_HOST].state) {
      int sent = truth.take(line, CYCLE * divisor);
      line = disturb(TO_HOST, line);
      if (sent >= 0) tally[TO_HOST].byte(sent);
    }
    int byte = reader.take(line, bit_time);
    return byte >= 0 && deliver((u8)byte);
  }

  bool disturb(int direction, bool line) {
    bool level = noise[direction].level(line, divisor);
    if (level != line) tally[direction].hit = true;
    return level;
  }

  // Whether changes wait to be taken away, before they take too much room.
  bool full() const {
#ifdef TRACED
    return design.trace.full() || design.trace.out_of_memory;
#else
    return false;
#endif
  }
  void run(u64 limit) {
    while (limit-- && !design.failed && !out_of_memory && !full())
      if (direct ? cycle_direct() : cycle_uart()) return;
  }
};

} // namespace

EXPORT void *xc_open(int direct, u64 divisor) {
  Device *device = (Device *)calloc(1, sizeof(Device));
  if (!device) return nullptr;
  device->direct = direct;
  device->divisor = divisor;
  device->bit_time = CYCLE * (long long)divisor;
  device->power_on();
  return device;
}
EXPORT void xc_close(Device *device) {
  device->design.power_off();
#ifdef TRACED
  free(device->design.trace.data);
#endif
  free(device->queue.data);
  free(device->arrived.data);
  free(device);
}
EXPORT void xc_reset(Device *device) { device->power_on(); }
EXPORT void xc_restart(Device *device) { device->restart(); }
// Time of a bit at the host, in 1/65536 of a cycle.
EXPORT void xc_pace(Device *device, u64 bit_time) { device->bit_time = (long long)bit_time; }
// Disturb a line: chances per bit times 2^32, bits of the longest break; seed 0 ends it.
EXPORT void xc_noise(Device *device, int direction, u64 seed, u32 flip, u32 low, u64 longest) {
  Noise &noise = device->noise[direction];
  memset(&noise, 0, sizeof noise);
  noise.state = seed;
  noise.flip = flip;
  noise.low = low;
  noise.longest = longest ? longest : 1;
  memset(&device->truth, 0, sizeof device->truth);
}
EXPORT u64 xc_frames(Device *device, int direction) { return device->tally[direction].frames; }
EXPORT u64 xc_damaged(Device *device, int direction) { return device->tally[direction].damaged; }
EXPORT int xc_write(Device *device, const u8 *data, u64 size) { return device->queue.append(data, size); }
// Run until a zero byte arrives or the limit; return the number of bytes to collect.
EXPORT u64 xc_run(Device *device, u64 limit) {
  device->run(limit);
  return device->arrived.size();
}
EXPORT void xc_collect(Device *device, u8 *data) {
  memcpy(data, device->arrived.data, device->arrived.size());
  device->arrived.clear();
}
EXPORT u64 xc_cycles(Device *device) { return device->cycles; }
EXPORT u64 xc_pending(Device *device) { return device->queue.size(); }
EXPORT u64 xc_framing_errors(Device *device) { return device->reader.framing_errors; }
EXPORT int xc_memory(Device *device) { return !device->out_of_memory; }
// The source line of the assertion that failed, or null.
EXPORT const char *xc_failed(Device *device) {
  return device->design.failure();
}
#ifdef TRACED
EXPORT const char *xc_signals() { return xc_names; }
// Keep changes from now on: of the cycles behind `first` beginnings of descriptors, until `tail` cycles
// after `last` ends of their results; with last 0, all.
EXPORT void xc_record(Device *device, u64 first, u64 last, u64 tail) {
  Trace &trace = device->design.trace;
  trace.started = true;
  trace.time = trace.begun = trace.ended = 0;
  trace.first = first;
  trace.last = last;
  trace.left = tail;
}
EXPORT u64 xc_changes(Device *device) { return device->design.trace.size; }
EXPORT u64 xc_recorded(Device *device) { return device->design.trace.time; }
EXPORT int xc_lost(Device *device) { return device->design.trace.out_of_memory; }
EXPORT void xc_take(Device *device, u64 *data) {
  Trace &trace = device->design.trace;
  memcpy(data, trace.data, trace.size * sizeof(u64));
  trace.size = 0;
}
#endif
