// One device and the host's end of its link. Built together with the generated design.h.
#include "design.h"
#include <stdlib.h>

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
  u64 framing_errors;
  // Transmitter: frame is the start bit, eight data bits and the stop bit, lowest first.
  u32 frame;
  int bits_left;
  u64 bit_cycles;
  // Receiver: cycles until the next sample in the middle of a bit.
  bool receiving;
  u64 until_sample;
  int bits_seen;
  u32 byte;

  void power_on() {
    design.power_off();
    design.power_on();
    queue.clear();
    arrived.clear();
    framing_errors = 0;
    bits_left = bits_seen = 0;
    receiving = false;
    design.i_direct = direct;
    design.i_divisor = divisor;
    design.i_uart_rx = 1;
    design.i_host_to_device__valid = 0;
    design.i_host_to_device__payload = 0;
    design.i_device_to_host__ready = 1;
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
      frame = 0x200 | (u32)queue.data[queue.first] << 1;
      ++queue.first;
      bits_left = 10;
      bit_cycles = divisor;
    }
    design.i_uart_rx = bits_left ? frame & 1 : 1;
    if (bits_left && !--bit_cycles) {
      frame >>= 1;
      --bits_left;
      bit_cycles = divisor;
    }
    design.cycle();
    ++cycles;
    bool level = design.o_uart_tx;
    if (!receiving) {
      if (!level) {
        receiving = true;
        bits_seen = 0;
        byte = 0;
        until_sample = divisor + divisor / 2;
      }
      return false;
    }
    if (--until_sample) return false;
    until_sample = divisor;
    if (bits_seen < 8) {
      byte |= (u32)level << bits_seen++;
      return false;
    }
    receiving = false;
    if (!level) {
      ++framing_errors;
      return false;
    }
    return deliver((u8)byte);
  }

  void run(u64 limit) {
    while (limit-- && !design.failed && !out_of_memory)
      if (direct ? cycle_direct() : cycle_uart()) return;
  }
};

} // namespace

EXPORT void *xc_open(int direct, u64 divisor) {
  Device *device = (Device *)calloc(1, sizeof(Device));
  if (!device) return nullptr;
  device->direct = direct;
  device->divisor = divisor;
  device->power_on();
  return device;
}
EXPORT void xc_close(Device *device) {
  device->design.power_off();
  free(device->queue.data);
  free(device->arrived.data);
  free(device);
}
EXPORT void xc_reset(Device *device) { device->power_on(); }
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
EXPORT u64 xc_framing_errors(Device *device) { return device->framing_errors; }
EXPORT int xc_memory(Device *device) { return !device->out_of_memory; }
// The source line of the assertion that failed, or null.
EXPORT const char *xc_failed(Device *device) {
  return device->design.failure();
}
