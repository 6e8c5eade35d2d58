// Web Serial with one port, whose bytes go to and come from the test: pageWrote(bytes), pageReads() -> bytes or null.
(() => {
  const shown = { opened: null };
  class Port {
    async open(options) {
      shown.opened = options;
      let stop = false;
      this.readable = new ReadableStream({
        pull: async (controller) => {
          for (;;) {
            const bytes = await window.pageReads();
            if (stop) return;
            if (bytes === null) {
              this.readable = null; // unplugged
              controller.error(new DOMException("The device has been lost.", "NetworkError"));
              return;
            }
            if (bytes.length) {
              controller.enqueue(Uint8Array.from(bytes));
              return;
            }
            await new Promise((resolve) => setTimeout(resolve, 2));
          }
        },
        cancel: () => { stop = true; },
      });
      this.writable = new WritableStream({ write: (chunk) => window.pageWrote([...chunk]) });
    }

    async close() {
      shown.opened = null;
    }
  }
  const serial = {
    requestPort: async () => {
      if (window.noPort) throw new DOMException("No port selected by the user.", "NotFoundError");
      return new Port();
    },
  };
  Object.defineProperty(Navigator.prototype, "serial", { value: serial, configurable: true });
  window.shownPort = shown;
})();
