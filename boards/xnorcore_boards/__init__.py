"""Board targets of the xnorcore accelerator."""
