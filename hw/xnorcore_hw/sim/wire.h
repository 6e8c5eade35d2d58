// The host's UART and the two lines between it and the device, which may be disturbed.
#pragma once

enum { TO_DEVICE, TO_HOST };

// Times of the host's UART are in 1/65536 of the device's clock cycle: the two clocks need not agree.
const long long CYCLE = 65536;

// Bytes from a line; bits are sampled in their middle.
struct Reader {
  bool receiving;
  long long until_sample;
  int bits_seen;
  u32 byte;
  u64 framing_errors;

  // Next cycle's level; the byte that it completes, or -1.
  int take(bool level, long long bit_time) {
    if (!receiving) {
      if (!level) {
        receiving = true;
        bits_seen = 0;
        byte = 0;
        until_sample = bit_time + bit_time / 2;
      }
      return -1;
    }
    until_sample -= CYCLE;
    if (until_sample >= CYCLE) return -1;
    until_sample += bit_time;
    if (bits_seen < 8) {
      byte |= (u32)level << bits_seen++;
      return -1;
    }
    receiving = false;
    if (level) return (int)byte;
    ++framing_errors;
    return -1;
  }
};

// What happens to the level of a line on its way, a bit time at a time.
struct Noise {
  u64 state;        // of the generator; 0: the line is quiet
  u32 flip, low;    // chance of an inverted bit, and of a break that begins, times 2^32
  u64 longest;      // bits of a break
  u64 until_bit;    // cycles until the next bit time
  bool flipped;
  u64 low_bits;     // left of a break

  u32 draw() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (u32)(state >> 32);
  }
  bool level(bool sent, u64 divisor) {
    if (!until_bit) {
      until_bit = divisor;
      flipped = draw() < flip;
      if (low_bits) --low_bits;
      else if (draw() < low) low_bits = 1 + draw() % longest;
    }
    --until_bit;
    return low_bits ? false : sent ^ flipped;
  }
};

// Frames that passed on a line, and how many of them were disturbed.
struct Tally {
  bool begun, hit;
  u64 frames, damaged;
  void byte(int value) {
    if (value) {
      begun = true;
      return;
    }
    frames += begun;
    damaged += begun && hit;
    begun = hit = false;
  }
};
