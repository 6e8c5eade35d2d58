"""What a design takes and reaches: estimated, measured, recorded."""
