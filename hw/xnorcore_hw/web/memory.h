// What the device needs of a C library, so that none is linked: zig would have to build its own first.
#pragma once
#include <stddef.h>

extern "C" {
extern unsigned char __heap_base;

// Blocks are never taken back: the few that there are only grow, and each again to twice its size.
static size_t top;

void *malloc(size_t size) {
  const size_t page = 65536;
  size_t at = ((top ? top : (size_t)&__heap_base) + 31) & ~(size_t)15;
  size_t end = at + size, have = __builtin_wasm_memory_size(0) * page;
  if (end < at) return nullptr;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + page - 1) / page) == (size_t)-1) return nullptr;
  ((size_t *)at)[-1] = size;
  top = end;
  return (void *)at;
}
void free(void *) {}
void *realloc(void *old, size_t size) {
  void *grown = malloc(size);
  if (old && grown) {
    size_t before = ((size_t *)old)[-1];
    __builtin_memcpy(grown, old, before < size ? before : size);
  }
  return grown;
}
void *calloc(size_t count, size_t size) {
  void *block = malloc(count * size);
  if (block) __builtin_memset(block, 0, count * size);
  return block;
}
}
