// Changes of recorded values, found while the simulator runs.
#pragma once
#include <stdlib.h>

struct Trace {
  bool started, on;  // asked for; changes are kept in this cycle
  bool out_of_memory;
  u64 time;          // cycles since it was asked for
  u64 begun, ended;  // pulses so far
  u64 first, last;   // kept: what comes after `first` beginnings, until `last` ends; last 0: all of it
  u64 left;          // cycles behind the last end
  u64 size, room;    // words
  u64 *data;         // pairs: time << 20 | slot, value

  void step(bool begins, bool ends) {
    begun += begins;
    on = started && (!last || (begun > first && (ended < last || left)));
    if (ended < last) ended += ends;
    else if (left) --left;
  }
  void put(u64 slot, u64 value) {
    if (size + 2 > room) {
      u64 wanted = room ? 2 * room : 1 << 16;
      u64 *grown = (u64 *)realloc(data, wanted * sizeof(u64));
      if (!grown) {
        out_of_memory = true;
        return;
      }
      data = grown;
      room = wanted;
    }
    data[size++] = time << 20 | slot;
    data[size++] = value;
  }
  bool full() const { return size > (1 << 21); }
};
