"""A network on a device as one page: what is measured, and how it is shown."""
