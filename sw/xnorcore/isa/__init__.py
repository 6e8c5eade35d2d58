"""What compiler, driver and gateware agree on: device, program layout, compiled program, protocol."""
