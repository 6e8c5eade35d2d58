"""Stores: memories that hold more weights than the buffers, each behind `port.StoreSignature`."""
