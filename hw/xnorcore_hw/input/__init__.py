"""Image bytes on their way into activation memory."""
