"""The simulated device: the accelerator's own RTL, run cycle by cycle behind the driver's link."""
